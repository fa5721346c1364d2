"""What a workflow can be asked or told: the commands of users and the messages of participants and timers."""

from __future__ import annotations

from enum import StrEnum
from typing import Any

from domain.aggregate.timer import Firing
from domain.values import Value
from domain.workflow.events import StartFacts
from domain.workflow.failure import WorkflowError


class StartWorkflow(Value):
    workflow_id: str
    facts: StartFacts
    actor: str = "system"


class PauseWorkflow(Value):
    reason: str | None = None
    actor: str = "system"


class ResumeWorkflow(Value):
    reason: str | None = None
    actor: str = "system"


class CancelWorkflow(Value):
    """`compensate` None: as the definition's `onCancel` says."""

    reason: str | None = None
    compensate: bool | None = None
    actor: str = "system"


class CompensateWorkflow(Value):
    reason: str | None = None
    actor: str = "system"


class ForceCompensateWorkflow(Value):
    """Undo what can be undone; what cannot is taken as undone on the operator's word."""

    reason: str | None = None
    actor: str = "system"


class RetryWorkflow(Value):
    reason: str | None = None
    actor: str = "system"


class SignalWorkflow(Value):
    name: str
    payload: Any = None
    actor: str = "system"


class EnableWaveless(Value):
    release_queue: str = "default"
    batch_size: int = 10
    processing_interval_ms: int = 1000
    actor: str = "system"


class ExecuteStep(Value):
    """Dispatch a step now, or record its outcome in the participant's name (`output` or `error`)."""

    step_id: str
    input: Any = None
    has_result: bool = False
    output: Any = None
    error: WorkflowError | None = None
    actor: str = "system"


class Purpose(StrEnum):
    FORWARD = "forward"
    UNDO = "undo"
    VERIFY = "verify"


class HandleStepReply(Value):
    """A participant's answer: success with `output`, or failure with `error`.

    `performed` with an `error`: the effect is there, and the error says why its output cannot be kept.
    """

    step_id: str
    attempt: int
    round: int
    purpose: Purpose = Purpose.FORWARD
    output: Any = None
    error: WorkflowError | None = None
    performed: bool = False
    execution_time_ms: int = 0
    snapshot: Any = None
    #: Who answers, if not the step's own service.
    actor: str | None = None


class HandleSealAnswer(Value):
    step_id: str
    round: int
    performed: bool
    output: Any = None
    snapshot: Any = None
    attempt: int | None = None
    #: Why the output of a performed step cannot be kept.
    error: WorkflowError | None = None
    #: Who answers, if not the step's own service.
    actor: str | None = None


class TimerKind(StrEnum):
    """The names of a workflow's timers."""

    WORKFLOW_TIMEOUT = "workflow-timeout"
    STEP_TIMEOUT = "step-timeout"
    STEP_RETRY = "step-retry"
    SEAL = "seal"
    UNDO_TIMEOUT = "undo-timeout"
    UNDO_RETRY = "undo-retry"


Command = (
    StartWorkflow
    | PauseWorkflow
    | ResumeWorkflow
    | CancelWorkflow
    | CompensateWorkflow
    | ForceCompensateWorkflow
    | RetryWorkflow
    | SignalWorkflow
    | EnableWaveless
    | ExecuteStep
    | HandleStepReply
    | HandleSealAnswer
    | Firing
)

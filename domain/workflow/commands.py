"""The messages that a workflow accepts: commands of users, answers of participants, and timers."""

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
    """If `compensate` is None, the definition's `onCancel` applies."""

    reason: str | None = None
    compensate: bool | None = None
    actor: str = "system"


class CompensateWorkflow(Value):
    reason: str | None = None
    actor: str = "system"


class ForceCompensateWorkflow(Value):
    """Undo what can be undone. What cannot be undone counts as undone, because the operator says so."""

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
    """Dispatch a step now, or record its outcome (`output` or `error`) in place of the participant."""

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

    `performed` with an `error`: the step was performed, and the error says why its output cannot be kept.
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
    #: The sender of the answer, if it is not the step's service.
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
    #: The sender of the answer, if it is not the step's service.
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

"""The messages that a workflow accepts: commands of users, answers of participants, and timers."""

from __future__ import annotations

from collections.abc import Mapping
from enum import StrEnum
from typing import Any

from domain.aggregate.timer import Firing
from domain.values import Value, field
from domain.workflow.events import StartFacts
from domain.workflow.failure import WorkflowError


class StartWorkflow(Value):
    workflow_id: str
    facts: StartFacts
    actor: str = "system"


class Control(Value):
    """A command on a workflow that exists."""

    actor: str = "system"
    #: Refused (STALE) in any other version. None: in whichever version the workflow is.
    expected_version: int | None = None


class PauseWorkflow(Control):
    reason: str | None = None


class ResumeWorkflow(Control):
    reason: str | None = None


class CancelWorkflow(Control):
    """If `compensate` is None, the definition's `onCancel` applies."""

    reason: str | None = None
    compensate: bool | None = None


class CompensateWorkflow(Control):
    reason: str | None = None


class ForceCompensateWorkflow(Control):
    """Undo what can be undone. What cannot be undone counts as undone, because the operator says so."""

    reason: str | None = None


class RetryWorkflow(Control):
    reason: str | None = None


class SignalWorkflow(Control):
    name: str
    payload: Any = None


class RetryStepNow(Control):
    """Do not wait any longer for the step's next attempt, for that of its undo, or for its next seal request."""

    step_id: str
    reason: str


class SkipStep(Control):
    """Leave out a step that was not performed."""

    step_id: str
    reason: str


class CompleteStep(Control):
    """The step was performed by hand."""

    step_id: str
    reason: str
    output: Any = None


class PatchWorkflow(Control):
    """New values of fields of the input and of the metadata; None removes the field."""

    reason: str
    input: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: Fields of the metadata, which expressions read as `context.metadata`.
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])


class ResetWorkflow(Control):
    """Undo this step and everything that depends on it, then go on from there in a new round."""

    to_step: str
    reason: str


class EnableWaveless(Control):
    release_queue: str = "default"
    batch_size: int = 10
    processing_interval_ms: int = 1000


class ExecuteStep(Control):
    """Dispatch a step now, or record its outcome (`output` or `error`) in place of the participant."""

    step_id: str
    input: Any = None
    has_result: bool = False
    output: Any = None
    error: WorkflowError | None = None


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
    | RetryStepNow
    | SkipStep
    | CompleteStep
    | PatchWorkflow
    | ResetWorkflow
    | EnableWaveless
    | ExecuteStep
    | HandleStepReply
    | HandleSealAnswer
    | Firing
)

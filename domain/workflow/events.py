"""The events of a workflow: the thirteen that the requirements name, and finer ones.

`TYPE` is the CloudEvents type, `NAME` the name in the requirements (`data.eventType`), and `KIND` the requirements'
name for the kind of history entry, if any. An event's id, version and aggregate follow from its place in the stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from domain.aggregate.event import CommandRejected, DomainEvent
from domain.definition.definition import WorkflowDefinition
from domain.load.events import SystemLoadRebalanced
from domain.values import Value, field
from domain.workflow.failure import WorkflowError
from domain.workflow.status import WorkflowPriority


class StartFacts(Value):
    """Facts that the start command fixes for the life of the instance.

    Only a patch by an operator changes `input` and `metadata`.
    """

    definition: WorkflowDefinition
    input: Mapping[str, Any]
    tenant: str = "default"
    correlation_id: str | None = None
    priority: WorkflowPriority = WorkflowPriority.NORMAL
    triggered_by: str = "system"
    user_id: str | None = None
    wallet: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])
    lock_key: str | None = None
    release_queue: str | None = None
    due_at: datetime | None = None
    timeout_seconds: int = 300
    max_retries: int = 3
    idempotency_key: str | None = None
    #: Distinguishes a repeated start from a different start under the same key (PROTOCOL rule 17).
    payload_hash: str = ""
    traceparent: str | None = None


class StepRequest(Value):
    """A request to a participant. It is stored whole, so that a repetition is identical byte for byte."""

    workflow_id: str
    step_id: str
    service: str
    operation: str
    input: Any
    context: Mapping[str, Any]
    attempt: int
    round: int
    deadline: datetime
    # Only in requests for a compensation.
    strategy: str | None = None
    step_output: Any = None
    snapshot: Any = None
    reason: str | None = None


class SealRequest(Value):
    """Asks whether the step was performed and, if not, forbids performing it from now on (PROTOCOL rule 1)."""

    workflow_id: str
    step_id: str
    service: str
    operation: str
    round: int
    context: Mapping[str, Any]


# -- workflow ------------------------------------------------------------------------------------


class WorkflowAccepted(DomainEvent):
    """The workflow is known, and waits for its release or its lock."""

    TYPE = "orchestration.workflow.accepted"
    NAME = "WorkflowAcceptedEvent"
    facts: StartFacts


class WorkflowReleased(DomainEvent):
    TYPE = "orchestration.workflow.released"
    NAME = "WorkflowReleasedEvent"


class WorkflowStarted(DomainEvent):
    TYPE = "orchestration.workflow.started"
    NAME = "WorkflowStartedEvent"
    facts: StartFacts


class WorkflowCompleted(DomainEvent):
    TYPE = "orchestration.workflow.completed"
    NAME = "WorkflowCompletedEvent"
    output: Any
    duration_ms: int


class WorkflowFailed(DomainEvent):
    TYPE = "orchestration.workflow.failed"
    NAME = "WorkflowFailedEvent"
    step_id: str | None
    error: WorkflowError
    will_compensate: bool
    duration_ms: int


class WorkflowPaused(DomainEvent):
    TYPE = "orchestration.workflow.paused"
    NAME = "WorkflowPausedEvent"
    reason: str | None = None


class WorkflowResumed(DomainEvent):
    TYPE = "orchestration.workflow.resumed"
    NAME = "WorkflowResumedEvent"
    reason: str | None = None


class WorkflowCancelled(DomainEvent):
    TYPE = "orchestration.workflow.cancelled"
    NAME = "WorkflowCancelledEvent"
    reason: str | None
    will_compensate: bool


class WorkflowRetried(DomainEvent):
    TYPE = "orchestration.workflow.retried"
    NAME = "WorkflowRetryEvent"
    retry_count: int
    max_retries: int
    from_step_id: str | None
    reason: str | None = None


class WorkflowSignalled(DomainEvent):
    TYPE = "orchestration.workflow.signalled"
    NAME = "WorkflowSignalledEvent"
    name: str
    payload: Any = None


class WorkflowPatched(DomainEvent):
    """An operator changed one field of the input or of the metadata, named as `input.lines` or `context.dock`."""

    TYPE = "orchestration.workflow.patched"
    NAME = "WorkflowPatchedEvent"
    path: str
    #: None: there was no such field.
    before: Any
    #: None: the field is gone.
    after: Any
    reason: str


class WorkflowReset(DomainEvent):
    """An operator sent the workflow back to a step. What depends on it is undone, and then done again."""

    TYPE = "orchestration.workflow.reset"
    NAME = "WorkflowResetEvent"
    to_step: str
    reason: str


class WavelessProcessingEnabled(DomainEvent):
    TYPE = "orchestration.waveless.enabled"
    NAME = "WavelessProcessingEnabledEvent"
    release_queue: str
    batch_size: int = 10
    processing_interval_ms: int = 1000


# -- steps ---------------------------------------------------------------------------------------


class StepScheduled(DomainEvent):
    """An attempt was sent: of the step itself, of its undo, or of the undo's verification."""

    TYPE = "orchestration.workflow.step.scheduled"
    NAME = "WorkflowStepScheduledEvent"
    step_id: str
    service_name: str
    operation: str
    attempt: int
    round: int
    idempotency_key: str
    #: None for the step itself, else `undo` or `verify`.
    purpose: str | None
    request: StepRequest
    #: Why an operator had it sent before its time.
    reason: str | None = None


class StepExecuted(DomainEvent):
    TYPE = "orchestration.workflow.step.executed"
    NAME = "WorkflowStepExecutedEvent"
    step_id: str
    service_name: str
    operation: str
    attempt: int
    round: int
    output: Any
    execution_time_ms: int
    snapshot: Any = None
    #: Why an operator completed it by hand.
    reason: str | None = None


class StepFailed(DomainEvent):
    """An attempt failed.

    `answered` is False if the attempt may still have had an effect: the participant did not answer, or its answer
    does not exclude one. A read-only step has no effect.
    """

    TYPE = "orchestration.workflow.step.failed"
    NAME = "WorkflowStepFailedEvent"
    step_id: str
    service_name: str
    operation: str
    attempt: int
    round: int
    error_code: str
    error_type: str
    message: str
    recoverable: bool
    will_retry: bool
    answered: bool
    next_attempt_at: datetime | None = None
    #: True: the step was performed, but its output cannot be kept. It is never performed again.
    performed: bool | None = None


class StepRetryScheduled(DomainEvent):
    TYPE = "orchestration.workflow.step.retry-scheduled"
    NAME = "WorkflowStepRetryScheduledEvent"
    step_id: str
    #: The number of the next attempt.
    attempt: int
    round: int
    due_at: datetime
    #: None for the step itself, else `undo` or `verify`.
    purpose: str | None = None


class StepSkipped(DomainEvent):
    TYPE = "orchestration.workflow.step.skipped"
    NAME = "WorkflowStepSkippedEvent"
    step_id: str
    reason: str


class StepUnresolved(DomainEvent):
    """The outcome of the step is unknown. Its service is asked to seal it, and asked again at `next_seal_at`."""

    TYPE = "orchestration.workflow.step.unresolved"
    NAME = "WorkflowStepUnresolvedEvent"
    step_id: str
    service_name: str
    round: int
    attempts: tuple[int, ...]
    seal_attempt: int
    next_seal_at: datetime
    idempotency_key: str
    request: SealRequest
    #: Why an operator had it sent before its time.
    reason: str | None = None


class StepSealed(DomainEvent):
    """The answer to a seal request: performed, with the output, or never will be."""

    TYPE = "orchestration.workflow.step.sealed"
    NAME = "WorkflowStepSealedEvent"
    step_id: str
    round: int
    performed: bool
    output: Any = None
    snapshot: Any = None
    attempt: int | None = None
    #: An operator gave up asking: the outcome stays unknown.
    forced: bool = False
    #: Why the output of a performed step cannot be kept.
    error: WorkflowError | None = None


class StepReplyIgnored(DomainEvent):
    """A reply or timer that changes nothing. If `resolves` is set, it says how that old attempt ended."""

    TYPE = "orchestration.workflow.step.reply-ignored"
    NAME = "WorkflowStepReplyIgnoredEvent"
    step_id: str | None
    reason: str
    attempt: int | None = None
    round: int | None = None
    resolves: int | None = None


# -- compensation --------------------------------------------------------------------------------


class CompensationStarted(DomainEvent):
    TYPE = "orchestration.workflow.compensation.started"
    NAME = "WorkflowCompensationStartedEvent"
    reason: str | None
    #: FAILURE, COMMAND, CANCEL or FORCE.
    trigger: str
    #: The steps that are completed now, in the order in which they are undone. Sealing may add steps.
    steps: tuple[str, ...]


class CompensationCompleted(DomainEvent):
    TYPE = "orchestration.workflow.compensation.completed"
    NAME = "WorkflowCompensationCompletedEvent"
    success: bool
    compensated_steps: tuple[str, ...]
    failed_steps: tuple[str, ...]
    duration_ms: int


class StepCompensated(DomainEvent):
    TYPE = "orchestration.workflow.step.compensated"
    NAME = "WorkflowStepCompensatedEvent"
    KIND = "SAGA_COMPENSATION"
    step_id: str
    service_name: str
    operation: str
    attempt: int
    execution_time_ms: int
    #: Declared by an operator, not reported by the participant.
    forced: bool = False


class StepCompensationFailed(DomainEvent):
    TYPE = "orchestration.workflow.step.compensation-failed"
    NAME = "WorkflowStepCompensationFailedEvent"
    step_id: str
    service_name: str
    operation: str
    attempt: int
    error_code: str
    error_type: str
    message: str
    recoverable: bool
    will_retry: bool
    next_attempt_at: datetime | None = None


# -- operation -----------------------------------------------------------------------------------


class IncidentRaised(DomainEvent):
    """A person has to act: nothing continues automatically."""

    TYPE = "orchestration.workflow.incident-raised"
    NAME = "WorkflowIncidentRaisedEvent"
    step_id: str | None
    code: str
    detail: str


class IncidentResolved(DomainEvent):
    TYPE = "orchestration.workflow.incident-resolved"
    NAME = "WorkflowIncidentResolvedEvent"
    step_id: str | None
    code: str
    resolution: str


#: The thirteen events that the requirements name (S-002-129).
REQUIRED_EVENTS: tuple[type[DomainEvent], ...] = (
    WorkflowStarted,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowPaused,
    WorkflowResumed,
    WorkflowCancelled,
    WorkflowRetried,
    StepExecuted,
    StepFailed,
    CompensationStarted,
    CompensationCompleted,
    SystemLoadRebalanced,
    WavelessProcessingEnabled,
)

FINER_EVENTS: tuple[type[DomainEvent], ...] = (
    WorkflowAccepted,
    WorkflowReleased,
    WorkflowSignalled,
    WorkflowPatched,
    WorkflowReset,
    StepScheduled,
    StepRetryScheduled,
    StepSkipped,
    StepUnresolved,
    StepSealed,
    StepReplyIgnored,
    StepCompensated,
    StepCompensationFailed,
    IncidentRaised,
    IncidentResolved,
    CommandRejected,
)

#: Every event of a workflow instance.
WORKFLOW_EVENTS: tuple[type[DomainEvent], ...] = tuple(
    event for event in (*REQUIRED_EVENTS, *FINER_EVENTS) if event is not SystemLoadRebalanced
)

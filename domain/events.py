"""Everything that can happen to a workflow: the thirteen events of the requirements and the finer ones.

`TYPE` is the CloudEvents type, `NAME` the sources' name (`data.eventType`), `KIND` the sources' name of the
sort of history entry, if any. Id, version and aggregate of an event follow from its place in the stream.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, ClassVar

from domain.definition import WorkflowDefinition
from domain.errors import WorkflowError
from domain.status import WorkflowPriority


@dataclass(frozen=True, slots=True, kw_only=True)
class DomainEvent:
    """What every event has besides its place in the stream."""

    TYPE: ClassVar[str]
    NAME: ClassVar[str]
    KIND: ClassVar[str | None] = None

    occurred_at: datetime
    actor: str = "system"


@dataclass(frozen=True, slots=True, kw_only=True)
class StartFacts:
    """What a start command settles for the life of the instance."""

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
    #: Tells a repeated start from another start under the same key (PROTOCOL rule 17).
    payload_hash: str = ""
    traceparent: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRequest:
    """What a participant is asked to do; stored whole, so that it is published again byte for byte."""

    workflow_id: str
    step_id: str
    service: str
    operation: str
    input: Any
    context: Mapping[str, Any]
    attempt: int
    round: int
    deadline: datetime
    # Of a compensation only.
    strategy: str | None = None
    step_output: Any = None
    snapshot: Any = None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class SealRequest:
    """Was it done? If not, never do it (PROTOCOL rule 1)."""

    workflow_id: str
    step_id: str
    service: str
    operation: str
    round: int
    context: Mapping[str, Any]


# -- workflow ------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowAccepted(DomainEvent):
    """It is known and waits for its release or its lock."""

    TYPE = "orchestration.workflow.accepted"
    NAME = "WorkflowAcceptedEvent"
    facts: StartFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowReleased(DomainEvent):
    TYPE = "orchestration.workflow.released"
    NAME = "WorkflowReleasedEvent"


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowStarted(DomainEvent):
    TYPE = "orchestration.workflow.started"
    NAME = "WorkflowStartedEvent"
    facts: StartFacts


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowCompleted(DomainEvent):
    TYPE = "orchestration.workflow.completed"
    NAME = "WorkflowCompletedEvent"
    output: Any
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFailed(DomainEvent):
    TYPE = "orchestration.workflow.failed"
    NAME = "WorkflowFailedEvent"
    step_id: str | None
    error: WorkflowError
    will_compensate: bool
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowPaused(DomainEvent):
    TYPE = "orchestration.workflow.paused"
    NAME = "WorkflowPausedEvent"
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowResumed(DomainEvent):
    TYPE = "orchestration.workflow.resumed"
    NAME = "WorkflowResumedEvent"
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowCancelled(DomainEvent):
    TYPE = "orchestration.workflow.cancelled"
    NAME = "WorkflowCancelledEvent"
    reason: str | None
    will_compensate: bool


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowRetried(DomainEvent):
    TYPE = "orchestration.workflow.retried"
    NAME = "WorkflowRetryEvent"
    retry_count: int
    max_retries: int
    from_step_id: str | None
    reason: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowSignalled(DomainEvent):
    TYPE = "orchestration.workflow.signalled"
    NAME = "WorkflowSignalledEvent"
    name: str
    payload: Any = None


@dataclass(frozen=True, slots=True, kw_only=True)
class WavelessProcessingEnabled(DomainEvent):
    TYPE = "orchestration.waveless.enabled"
    NAME = "WavelessProcessingEnabledEvent"
    release_queue: str
    batch_size: int = 10
    processing_interval_ms: int = 1000


@dataclass(frozen=True, slots=True, kw_only=True)
class SystemLoadRebalanced(DomainEvent):
    """Of the aggregate `system`, not of a workflow."""

    TYPE = "orchestration.system.load.rebalanced"
    NAME = "SystemLoadRebalancedEvent"
    trigger: str
    before: Mapping[str, float]
    target_loads: Mapping[str, float]
    moved: int


# -- steps ---------------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class StepFailed(DomainEvent):
    """An attempt failed; `answered` is False when the participant did not say so itself."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class StepRetryScheduled(DomainEvent):
    TYPE = "orchestration.workflow.step.retry-scheduled"
    NAME = "WorkflowStepRetryScheduledEvent"
    step_id: str
    #: The attempt to come.
    attempt: int
    round: int
    due_at: datetime
    #: None for the step itself, else `undo` or `verify`.
    purpose: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSkipped(DomainEvent):
    TYPE = "orchestration.workflow.step.skipped"
    NAME = "WorkflowStepSkippedEvent"
    step_id: str
    reason: str


@dataclass(frozen=True, slots=True, kw_only=True)
class StepUnresolved(DomainEvent):
    """Nobody knows whether the step happened; its service is asked to seal it, again at `next_seal_at`."""

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


@dataclass(frozen=True, slots=True, kw_only=True)
class StepSealed(DomainEvent):
    """The answer to the seal: performed (with its output), or never to be."""

    TYPE = "orchestration.workflow.step.sealed"
    NAME = "WorkflowStepSealedEvent"
    step_id: str
    round: int
    performed: bool
    output: Any = None
    snapshot: Any = None
    attempt: int | None = None
    #: An operator gave up asking; nobody knows.
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
class StepReplyIgnored(DomainEvent):
    """A reply or timer that changes nothing but, where `resolves` is set, answers an old attempt."""

    TYPE = "orchestration.workflow.step.reply-ignored"
    NAME = "WorkflowStepReplyIgnoredEvent"
    step_id: str | None
    reason: str
    attempt: int | None = None
    round: int | None = None
    resolves: int | None = None


# -- compensation --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensationStarted(DomainEvent):
    TYPE = "orchestration.workflow.compensation.started"
    NAME = "WorkflowCompensationStartedEvent"
    reason: str | None
    #: FAILURE, COMMAND, CANCEL or FORCE.
    trigger: str
    #: What is completed now, in the order of its undoing; sealing may add steps.
    steps: tuple[str, ...]


@dataclass(frozen=True, slots=True, kw_only=True)
class CompensationCompleted(DomainEvent):
    TYPE = "orchestration.workflow.compensation.completed"
    NAME = "WorkflowCompensationCompletedEvent"
    success: bool
    compensated_steps: tuple[str, ...]
    failed_steps: tuple[str, ...]
    duration_ms: int


@dataclass(frozen=True, slots=True, kw_only=True)
class StepCompensated(DomainEvent):
    TYPE = "orchestration.workflow.step.compensated"
    NAME = "WorkflowStepCompensatedEvent"
    KIND = "SAGA_COMPENSATION"
    step_id: str
    service_name: str
    operation: str
    attempt: int
    execution_time_ms: int
    #: An operator's word, not the participant's.
    forced: bool = False


@dataclass(frozen=True, slots=True, kw_only=True)
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


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentRaised(DomainEvent):
    """Somebody has to look: nothing goes on by itself."""

    TYPE = "orchestration.workflow.incident-raised"
    NAME = "WorkflowIncidentRaisedEvent"
    step_id: str | None
    code: str
    detail: str


@dataclass(frozen=True, slots=True, kw_only=True)
class IncidentResolved(DomainEvent):
    TYPE = "orchestration.workflow.incident-resolved"
    NAME = "WorkflowIncidentResolvedEvent"
    step_id: str | None
    code: str
    resolution: str


@dataclass(frozen=True, slots=True, kw_only=True)
class CommandRejected(DomainEvent):
    """A refusal, stored so that the same message is refused again for the same reason."""

    TYPE = "orchestration.command.rejected"
    NAME = "CommandRejectedEvent"
    command_id: str
    command_type: str
    code: str
    detail: str
    status: str | None = None
    allowed_commands: tuple[str, ...] = ()
    faults: tuple[Mapping[str, str], ...] = ()


#: The thirteen concrete events that the requirements name (S-002-129).
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

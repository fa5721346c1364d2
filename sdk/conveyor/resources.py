"""Workflows and their events as the API shows them. Fields that a newer service adds are ignored."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

from conveyor.values import Value, field

JsonObject = dict[str, Any]

#: Workflows in these statuses go on by themselves, or by a command that an operator owes them.
ACTIVE = frozenset({"PENDING", "EXECUTING", "PAUSED", "COMPENSATING"})


class WorkflowError(Value, rename="camel"):
    """What went wrong with a step, or with the whole workflow where `step_id` is None."""

    step_id: str | None = None
    service_name: str | None = None
    error_code: str
    message: str
    error_type: str
    recoverable: bool
    attempt: int | None = None
    occurred_at: datetime | None = None


class Incident(Value, rename="camel"):
    """Something that a person has to look at."""

    code: str
    step_id: str | None = None
    #: Of the event that raised it.
    version: int
    raised_at: datetime
    detail: str


class RetryPolicy(Value, rename="camel"):
    """Retries after the first attempt."""

    max_retries: int
    initial_delay_ms: int
    max_delay_ms: int
    backoff_multiplier: float
    exponential_backoff: bool
    jitter: float


class CompensationAction(Value, rename="camel"):
    """What undoes a step."""

    strategy: str
    service_name: str
    operation: str
    #: An expression or an object of them, as in the definition.
    parameters: Any = None
    status: str
    completed_at: datetime | None = None


class Step(Value, rename="camel"):
    """One step of a workflow."""

    step_id: str
    workflow_instance_id: str
    step_name: str
    service_name: str
    operation: str
    execution_order: int
    depends_on: tuple[str, ...]
    kind: str
    status: str
    attempt: int
    round: int
    retry_count: int
    input_data: JsonObject | None = None
    output: JsonObject | None = None
    error: WorkflowError | None = None
    execution_time_ms: int | None = None
    timeout_ms: int
    retry_policy: RetryPolicy
    compensation_action: CompensationAction | None = None
    idempotency_key: str
    scheduled_at: datetime | None = None
    completed_at: datetime | None = None
    next_attempt_at: datetime | None = None
    config: JsonObject = field(default_factory=dict[str, Any])
    metadata: JsonObject = field(default_factory=dict[str, Any])


class WorkflowSummary(Value, rename="camel"):
    """A workflow as an item of a list."""

    id: str
    tenant: str
    workflow_definition_id: str
    definition: str
    definition_version: int
    workflow_name: str
    workflow_type: str
    status: str
    #: Counts the workflow's events.
    version: int
    priority: str
    waveless: bool = False
    release_queue: str | None = None
    due_at: datetime | None = None
    lock_key: str | None = None
    correlation_id: str | None = None
    triggered_by: str
    user_id: str | None = None
    wallet: str | None = None
    labels: Mapping[str, str] = field(default_factory=dict[str, str])
    metadata: JsonObject = field(default_factory=dict[str, Any])
    current_step_id: str | None = None
    executed_steps: tuple[str, ...] = ()
    compensated_steps: tuple[str, ...] = ()
    #: Percent.
    progress: int
    compensation_status: str
    #: Percent.
    compensation_progress: int
    retry_count: int
    max_retries: int
    timeout_seconds: int
    errors: tuple[WorkflowError, ...] = ()
    #: Steps of which it is not known yet whether they were performed.
    unresolved: tuple[str, ...] = ()
    incidents: tuple[Incident, ...] = ()
    cancel_reason: str | None = None
    idempotency_key: str | None = None
    allowed_commands: tuple[str, ...] = ()
    created_at: datetime
    started_at: datetime | None = None
    updated_at: datetime
    #: When it ended, however it ended.
    completed_at: datetime | None = None

    @property
    def is_active(self) -> bool:
        """Whether it has not ended."""
        return self.status in ACTIVE


class WorkflowResource(WorkflowSummary, rename="camel"):
    """A workflow with its data and its steps."""

    input_parameters: JsonObject
    execution_context: JsonObject
    output: JsonObject | None = None
    steps: tuple[Step, ...]


class WorkflowPage(Value, rename="camel"):
    """One page of a list."""

    items: tuple[WorkflowSummary, ...]
    #: For the next page; None at the end.
    next_cursor: str | None = None
    #: The list shows the workflows as they were then.
    as_of: datetime


class Event(Value, rename="camel"):
    """An event of a workflow. The versions of one workflow count from 1 without a gap."""

    workflow_id: str
    version: int
    event_id: str
    #: The CloudEvents type, as `orchestration.workflow.completed`.
    type: str
    event_type: str
    occurred_at: datetime
    actor: str
    #: The id of the command, reply or timer that caused it.
    causation_id: str
    #: The published document.
    data: JsonObject
    #: Of a subscription: it can go on after this event. None in a history.
    position: str | None = None

"""The responses of CONTRACT 6 as schemas, for OpenAPI; none is validated against them while serving."""

from __future__ import annotations

from typing import Annotated, Any, Literal

from pydantic import BaseModel, ConfigDict, Field
from pydantic.alias_generators import to_camel

from domain.workflow.status import CompensationStatus, StepStatus, WorkflowPriority, WorkflowStatus

JsonObject = dict[str, Any]
Time = Annotated[str, Field(description="RFC 3339, UTC", examples=["2026-11-21T02:30:00.123Z"])]


class _Answer(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, extra="forbid")


class WorkflowErrorResponse(_Answer):
    """What went wrong with a step, or with the workflow where `stepId` is null."""

    step_id: str | None
    service_name: str | None
    error_code: str
    message: str
    error_type: str
    recoverable: bool
    attempt: int | None
    occurred_at: Time | None


class IncidentResponse(_Answer):
    """An incident that is open."""

    code: str
    step_id: str | None
    #: Of the event that raised it.
    version: int
    raised_at: Time
    detail: str


class RetryPolicyResponse(_Answer):
    """Retries after the first attempt."""

    max_retries: int
    initial_delay_ms: int
    max_delay_ms: int
    backoff_multiplier: float
    exponential_backoff: bool
    jitter: float


class CompensationActionResponse(_Answer):
    """What undoes the step."""

    strategy: Literal["REVERSE_OPERATION", "DELETE_CREATED", "RESTORE_STATE", "CUSTOM"]
    service_name: str
    operation: str
    #: An expression or an object of them, as in the definition.
    parameters: Any
    status: CompensationStatus
    completed_at: Time | None


class StepResponse(_Answer):
    """One step of a workflow."""

    step_id: str
    workflow_instance_id: str
    step_name: str
    service_name: str
    operation: str
    execution_order: int
    depends_on: list[str]
    kind: Literal["compensatable", "pivot", "retriable", "read-only"]
    status: StepStatus
    attempt: int
    round: int
    retry_count: int
    input_data: JsonObject | None
    output: JsonObject | None
    error: WorkflowErrorResponse | None
    execution_time_ms: int | None
    timeout_ms: int
    retry_policy: RetryPolicyResponse
    compensation_action: CompensationActionResponse | None
    idempotency_key: str
    scheduled_at: Time | None
    completed_at: Time | None
    next_attempt_at: Time | None
    config: JsonObject
    metadata: JsonObject


class SiteResponse(_Answer):
    """The process that responds."""

    zone: str | None
    name: str | None


class Me(_Answer):
    """The caller, as the service sees it."""

    actor: str
    roles: list[Literal["viewer", "operator", "admin", "service"]]
    #: The actions that the roles allow.
    rights: list[str]
    #: Empty: not restricted.
    tenants: list[str]
    labels: dict[str, str]
    services: list[str]
    site: SiteResponse


class PreviewRequest(BaseModel):
    """A command that is not carried out; the other fields are the command's own."""

    model_config = ConfigDict(extra="allow")

    command: str = Field(min_length=1)


class RefusalResponse(_Answer):
    """Why a command would be refused."""

    code: str
    detail: str


class EffectResponse(_Answer):
    """Something that a step did."""

    step_id: str
    operation: str
    only_if_performed: bool


class Preview(_Answer):
    """What a command would do now."""

    allowed: bool
    #: Of the workflow that was looked at, for If-Match.
    version: int
    status: WorkflowStatus
    status_after: WorkflowStatus
    refusals: list[RefusalResponse]
    #: In the order in which they are undone.
    undo: list[EffectResponse]
    lost: list[EffectResponse]


class WorkflowListItem(_Answer):
    """A workflow as an item of the list."""

    id: str
    tenant: str
    workflow_definition_id: str
    definition: str
    definition_version: int
    workflow_name: str
    workflow_type: str
    status: WorkflowStatus
    #: Counts the workflow's events.
    version: int
    priority: WorkflowPriority
    waveless: bool
    release_queue: str | None
    due_at: Time | None
    lock_key: str | None
    correlation_id: str | None
    triggered_by: str
    user_id: str | None
    wallet: str | None
    labels: dict[str, str]
    metadata: JsonObject
    current_step_id: str | None
    executed_steps: list[str]
    compensated_steps: list[str]
    progress: Annotated[int, Field(ge=0, le=100)]
    compensation_status: CompensationStatus
    compensation_progress: Annotated[int, Field(ge=0, le=100)]
    retry_count: int
    max_retries: int
    timeout_seconds: int
    errors: list[WorkflowErrorResponse]
    #: Steps of which is not known yet whether they were performed.
    unresolved: list[str]
    #: A person has to look at them; each leaves the list when its cause is gone.
    incidents: list[IncidentResponse]
    cancel_reason: str | None
    idempotency_key: str | None
    allowed_commands: list[str]
    created_at: Time
    started_at: Time | None
    updated_at: Time
    completed_at: Time | None


class WorkflowResponse(WorkflowListItem):
    """A workflow."""

    input_parameters: JsonObject
    execution_context: JsonObject
    output: JsonObject | None
    steps: list[StepResponse]


class StartedResponse(WorkflowResponse):
    """A workflow that was started."""

    warnings: list[str]


class WorkflowPage(_Answer):
    """One page of the list, as of `asOf`; null `nextCursor` ends it."""

    items: list[WorkflowListItem]
    next_cursor: str | None
    as_of: Time


class WorkflowStatusResponse(_Answer):
    """How far a workflow is."""

    id: str
    status: WorkflowStatus
    version: int
    progress: int
    current_step_id: str | None
    compensation_status: CompensationStatus


class HistoryEvent(_Answer):
    """An event; `data` is the published document."""

    version: int
    event_id: str
    type: str
    event_type: str
    occurred_at: Time
    actor: str
    #: The id of the command, reply or timer that caused it.
    causation_id: str
    data: JsonObject
    kind: str | None = None


class HistoryPage(_Answer):
    """Events in ascending versions; null `nextCursor` ends them."""

    workflow_id: str
    items: list[HistoryEvent]
    next_cursor: str | None


class AcceptedCommand(_Answer):
    """A command that is sent and not decided yet."""

    id: str
    command_id: str
    status: WorkflowStatus | None


class DefinitionList(_Answer):
    """The documents as they were registered."""

    items: list[JsonObject]


class Index(_Answer):
    """Where to go from here."""

    name: str
    version: str
    links: dict[str, str]


class Up(_Answer):
    """All is well."""

    status: Literal["UP"]


class ComponentHealth(_Answer):
    """A server or a role of this process."""

    model_config = ConfigDict(alias_generator=to_camel, extra="allow")

    status: Literal["UP", "DEGRADED", "DOWN"]
    detail: str | None = None


class ServiceHealth(_Answer):
    """A service that definitions name."""

    #: DEGRADED: its request topic refuses messages. UNREAD: nobody has ever read its requests.
    status: Literal["HEALTHY", "DEGRADED", "UNREAD", "UNKNOWN"]
    detail: str | None = None
    circuit_breaker: Literal["CLOSED", "OPEN", "HALF_OPEN"] | None = None
    load_score: float | None = None


class SystemHealthResponse(_Answer):
    """The health of the whole."""

    status: Literal["UP", "DEGRADED", "DOWN"]
    version: str
    components: dict[str, ComponentHealth]
    services: dict[str, ServiceHealth]


class FaultDocument(_Answer):
    """One of the things that are wrong with a request."""

    #: As in `input.lines[0].quantity`; empty: the whole.
    path: str
    message: str
    #: Of a definition: the rule that it breaks, and the step that does.
    rule: str | None = None
    step: str | None = None


class ProblemDocument(_Answer):
    """RFC 9457."""

    type: str
    title: str
    status: int
    code: str
    detail: str
    instance: str
    correlation_id: str
    errors: list[FaultDocument] | None = None
    workflow_status: WorkflowStatus | None = None
    allowed_commands: list[str] | None = None


# -- workers


class TakenRequest(_Answer):
    """A request that a worker has until its lease ends."""

    lease: str
    #: A structured CloudEvent, as on the topic of the service's requests.
    event: JsonObject
    recovered: bool
    asks_about: JsonObject | None = None


class TakenRequests(_Answer):
    """The requests that a worker takes, the oldest first."""

    requests: list[TakenRequest]


class AnswerResult(_Answer):
    """What became of one answer."""

    lease: str
    accepted: bool
    code: str | None = None
    detail: str | None = None


class AnswerResults(_Answer):
    """What became of each answer, in their order."""

    results: list[AnswerResult]


class ExtendedLeases(_Answer):
    """Which leases still run."""

    extended: list[str]
    lost: list[str]

"""The JSON payloads of commands, requests and replies; parse with `model_validate_json(data)`.

Commands refuse unknown fields (a misspelt option must not be ignored); requests and replies ignore
them, so that an older reader understands a newer writer. Times are strings in RFC 3339.
"""

from __future__ import annotations

from datetime import UTC, datetime
from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    ConfigDict,
    Field,
    TypeAdapter,
    model_validator,
)
from pydantic.alias_generators import to_camel

_TIME = TypeAdapter(AwareDatetime)


def _to_utc(value: str) -> str:
    return rfc3339(_TIME.validate_python(value))


def rfc3339(time: datetime) -> str:
    """`2026-11-21T02:30:00.123Z`: UTC, whole milliseconds."""
    return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"


#: An RFC 3339 time as it travels; normalised to UTC with milliseconds.
Timestamp = Annotated[str, AfterValidator(_to_utc)]
JsonObject = dict[str, Any]
Name = Annotated[str, Field(min_length=1)]
Priority = Literal["HIGH", "NORMAL", "LOW"]


class _Command(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="forbid"
    )


class _Event(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel, populate_by_name=True, frozen=True, extra="ignore"
    )


# -- commands ------------------------------------------------------------------------------------


class StartData(_Command):
    """`start`: by `definition` (and `version`), or by `definitionId` as its alias."""

    definition: Name | None = None
    definition_id: Name | None = None
    version: int | None = Field(default=None, ge=1)
    input: JsonObject = Field(default_factory=dict)
    priority: Priority = "NORMAL"
    correlation_id: str | None = None
    lock_key: Name | None = None
    lock_policy: Literal["wait", "reject"] | None = None
    lock_wait_seconds: int | None = Field(default=None, ge=0)
    #: 0: no time-out; None: the definition's.
    timeout_seconds: int | None = Field(default=None, ge=0)
    triggered_by: str | None = None
    user_id: str | None = None
    wallet: str | None = None
    tenant: Name = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    release_queue: Name | None = None
    due_at: Timestamp | None = None
    idempotency_key: Name | None = None
    max_retries: int | None = Field(default=None, ge=0)

    @model_validator(mode="after")
    def _one_definition(self) -> Self:
        if (self.definition is None) == (self.definition_id is None):
            raise ValueError("give either definition or definitionId")
        return self

    @property
    def definition_reference(self) -> str:
        """What the caller named, whichever field carried it."""
        return self.definition or self.definition_id or ""


class ReasonData(_Command):
    """`pause`, `resume`, `compensate`, `force-compensate`, `retry`."""

    reason: str | None = None


class CancelData(_Command):
    """`cancel`; `compensate` overrides the definition's `onCancel`."""

    reason: str | None = None
    compensate: bool | None = None


class SignalData(_Command):
    """`signal`."""

    name: Name
    payload: JsonObject = Field(default_factory=dict)
    actor: str | None = None


class StepFailure(_Event):
    """Why an attempt failed; without `retryable` the type's default counts."""

    code: Name
    message: str = ""
    type: Name = "INTERNAL"
    retryable: bool | None = None


class StepOutcome(_Command):
    """What an operator records in the participant's name: an output or an error."""

    output: JsonObject | None = None
    error: StepFailure | None = None

    @model_validator(mode="after")
    def _one_of_both(self) -> Self:
        if (self.output is None) == (self.error is None):
            raise ValueError("give either output or error")
        return self


class ExecuteStepData(_Command):
    """`step.execute`: dispatch a step, or record its `result`."""

    step_id: Name
    input: JsonObject | None = None
    result: StepOutcome | None = None

    @model_validator(mode="after")
    def _dispatch_or_record(self) -> Self:
        if self.input is not None and self.result is not None:
            raise ValueError("give input to dispatch the step, or result to record its outcome")
        return self


# -- requests to participants --------------------------------------------------------------------


class SealRequest(_Event):
    """`seal-requested`: say whether the step was performed, and never perform it from now on."""

    workflow_id: Name
    step_id: Name
    service: Name
    operation: Name
    round: int = Field(default=1, ge=1)
    context: JsonObject = Field(default_factory=dict)


class StepRequest(SealRequest):
    """`requested`: perform the step."""

    input: JsonObject = Field(default_factory=dict)
    attempt: int = Field(default=1, ge=1)
    #: Not begun any more after this time; None: no limit.
    deadline: AwareDatetime | None = None


class CompensationRequest(StepRequest):
    """`compensation-requested`: undo the step."""

    strategy: str = "REVERSE_OPERATION"
    step_output: JsonObject | None = None
    snapshot: JsonObject | None = None
    reason: str | None = None


# -- replies -------------------------------------------------------------------------------------


class _StepReply(_Event):
    workflow_id: Name
    step_id: Name
    attempt: int = Field(ge=1)
    round: int = Field(default=1, ge=1)
    #: True: the answer to a compensation request.
    compensation: bool = False
    execution_time_ms: int | None = None
    #: Which instance of the service answered.
    instance: str | None = None


class StepCompleted(_StepReply):
    """`completed`."""

    output: JsonObject | None = None
    snapshot: JsonObject | None = None


class StepFailed(_StepReply):
    """`failed`: unless the type is UNKNOWN, this attempt did nothing and never will (rule 3)."""

    error: StepFailure


class Sealed(_Event):
    """`sealed`: the step was `performed` with `output`, or never will be."""

    workflow_id: Name
    step_id: Name
    round: int = Field(default=1, ge=1)
    performed: bool
    output: JsonObject | None = None
    #: Of a performed step, if its handler kept one.
    snapshot: JsonObject | None = None
    #: The attempt that performed.
    attempt: int | None = None
    instance: str | None = None


# -- samples -------------------------------------------------------------------------------------


class LoadSample(_Event):
    """`orchestration.system.load.sampled`: one instance's load."""

    id: Name
    service_name: Name
    cpu: float = Field(ge=0, le=100)
    memory: float = Field(ge=0, le=100)
    active_requests: int = Field(default=0, ge=0)
    queue_depth: int = Field(default=0, ge=0)
    avg_response_time_ms: float = Field(default=0, ge=0)
    #: A share, 0..1.
    error_rate: float = Field(default=0, ge=0, le=1)
    #: The number of requests that `error_rate` was taken from.
    requests: int | None = Field(default=None, ge=0)
    sampled_at: Timestamp | None = None

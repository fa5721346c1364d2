"""The JSON payloads of commands, requests and replies; parse with `model_validate_json(data)`.

Commands refuse unknown fields (a misspelt option must not be ignored); requests and replies ignore
them, so that an older reader understands a newer writer. Times are strings in RFC 3339.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    AwareDatetime,
    BaseModel,
    BeforeValidator,
    ConfigDict,
    Field,
    model_validator,
)
from pydantic.alias_generators import to_camel

from conveyor.times import parse_rfc3339, rfc3339


def _to_utc(text: str) -> str:
    return rfc3339(parse_rfc3339(text))


#: The largest version, attempt, round: 32 bits signed.
COUNT_MAX = 2**31 - 1
YEAR_SECONDS = 366 * 24 * 3600
_LOCK_WAIT_SECONDS_MAX = 24 * 3600
_RETRIES_MAX = 1_000_000
#: Larger ones lose digits in many readers, and no step takes that long.
_DURATION_MS_MAX = 2**53


def _usable_duration(value: Any) -> int | None:
    """A participant's own measurement is never a reason to refuse what it answers."""
    is_number = isinstance(value, int | float) and not isinstance(value, bool)
    return int(value) if is_number and 0 <= value <= _DURATION_MS_MAX else None


#: An RFC 3339 time as it travels; normalised to UTC with milliseconds.
Timestamp = Annotated[str, AfterValidator(_to_utc)]
JsonObject = dict[str, Any]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=COUNT_MAX)]
Duration = Annotated[int | None, BeforeValidator(_usable_duration)]
Priority = Literal["HIGH", "NORMAL", "LOW"]


class _Command(BaseModel):
    model_config = ConfigDict(
        alias_generator=to_camel,
        populate_by_name=True,
        frozen=True,
        extra="forbid",
        strict=True,
        # As null, a NaN would be accepted as another value.
        ser_json_inf_nan="constants",
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
    version: Count | None = None
    input: JsonObject = Field(default_factory=dict)
    priority: Priority = "NORMAL"
    correlation_id: str | None = None
    lock_key: Name | None = None
    lock_policy: Literal["wait", "reject"] | None = None
    lock_wait_seconds: int | None = Field(default=None, ge=0, le=_LOCK_WAIT_SECONDS_MAX)
    #: 0: no time-out; None: the definition's.
    timeout_seconds: int | None = Field(default=None, ge=0, le=YEAR_SECONDS)
    triggered_by: str | None = None
    user_id: str | None = None
    wallet: str | None = None
    tenant: Name = "default"
    labels: dict[str, str] = Field(default_factory=dict)
    metadata: JsonObject = Field(default_factory=dict)
    release_queue: Name | None = None
    due_at: Timestamp | None = None
    idempotency_key: Name | None = None
    max_retries: int | None = Field(default=None, ge=0, le=_RETRIES_MAX)

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
    #: Accepted without effect: the message's source, or its attribute `actor`, says who acts.
    actor: str | None = None


class StepFailure(_Event):
    """Why an attempt failed; without `retryable` the type's default counts."""

    code: Name
    message: str = ""
    type: Name = "INTERNAL"
    retryable: bool | None = None
    #: The attempt may have had its effect: the step stays unresolved, as with the type UNKNOWN.
    outcome_unknown: bool = False


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
    round: Count = 1
    context: JsonObject = Field(default_factory=dict)


class StepRequest(SealRequest):
    """`requested`: perform the step."""

    input: JsonObject = Field(default_factory=dict)
    attempt: Count = 1
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
    attempt: Count
    round: Count = 1
    #: True: the answer to a compensation request.
    compensation: bool = False
    #: None also for what is not a duration.
    execution_time_ms: Duration = None
    #: Which instance of the service answered.
    instance: str | None = None


class StepCompleted(_StepReply):
    """`completed`."""

    output: JsonObject | None = None
    snapshot: JsonObject | None = None


class StepFailed(_StepReply):
    """`failed`: unless the type is UNKNOWN, this attempt did nothing and never will (rule 3)."""

    error: StepFailure
    #: True: the step was performed all the same, and the error says why its output cannot be used.
    performed: bool = False


class Sealed(_Event):
    """`sealed`: the step was `performed` with `output`, or never will be."""

    workflow_id: Name
    step_id: Name
    round: Count = 1
    performed: bool
    output: JsonObject | None = None
    #: Of a performed step, if its handler kept one.
    snapshot: JsonObject | None = None
    #: Why the output of a performed step cannot be used.
    error: StepFailure | None = None
    #: The attempt that performed.
    attempt: Count | None = None
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

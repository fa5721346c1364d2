"""The JSON payloads of what people and services write by hand: commands, and samples of load.

Every fault of a payload is named. Commands refuse unknown fields (a misspelt option must not be ignored); times
are strings in RFC 3339. What engine and participants exchange is in `exchange`.
"""

from __future__ import annotations

from typing import Annotated, Any, Literal, Self

from pydantic import (
    AfterValidator,
    BaseModel,
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


#: An RFC 3339 time as it travels; normalised to UTC with milliseconds.
Timestamp = Annotated[str, AfterValidator(_to_utc)]
JsonObject = dict[str, Any]
Name = Annotated[str, Field(min_length=1)]
Count = Annotated[int, Field(ge=1, le=COUNT_MAX)]
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

    # The fields of `exchange.ReportedFailure`, which participants send. There are two classes because pydantic names
    # every fault of what an operator writes, and msgspec is fast enough for replies. A test holds them equal.

    code: Name
    message: str = ""
    type: Name = "INTERNAL"
    retryable: bool | None = None
    #: The attempt may have had its effect: the step stays unresolved, as with the type UNKNOWN.
    outcome_unknown: bool = False


class StepOutcome(_Command):
    """What an operator records in place of the participant: an output or an error."""

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


class RepairData(_Command):
    """What every repair says, for the history: why."""

    reason: Name


class StepRepairData(RepairData):
    """`step.retry-now`, `step.skip`."""

    step_id: Name


class CompletionData(RepairData):
    """The output of a step that was performed by hand."""

    output: JsonObject = Field(default_factory=dict)


class CompleteStepData(CompletionData):
    """`step.complete`."""

    step_id: Name


class ResetData(RepairData):
    """`reset`: the step from which the workflow goes on."""

    to_step: Name


class PatchData(RepairData):
    """`patch`: new values of fields of the input, or of the metadata (`context`); null removes a field."""

    input: JsonObject = Field(default_factory=dict)
    context: JsonObject = Field(default_factory=dict)

    @model_validator(mode="after")
    def _something(self) -> Self:
        if not (self.input or self.context):
            raise ValueError("give input or context, with the fields to change")
        return self


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

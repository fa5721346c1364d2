"""The JSON payloads that engine and participants exchange: requests and replies.

Programs write them, and every step of every workflow has two, so they are read by msgspec: the first fault of a
payload is named. Unknown fields are ignored, so that an older reader understands a newer writer.
"""

from __future__ import annotations

from datetime import datetime
from typing import Annotated, Any

from msgspec import Meta, Struct, field

from conveyor.wire import COUNT_MAX

#: Larger ones lose digits in many readers, and no step takes that long.
_DURATION_MS_MAX = 2**53

JsonObject = dict[str, Any]
Name = Annotated[str, Meta(min_length=1)]
Count = Annotated[int, Meta(ge=1, le=COUNT_MAX)]
Moment = Annotated[datetime, Meta(tz=True)]


class Exchanged(Struct, frozen=True, kw_only=True, gc=False, rename="camel"):
    """A payload."""


# -- requests to participants --------------------------------------------------------------------


class SealRequest(Exchanged, frozen=True, kw_only=True):
    """`seal-requested`: say whether the step was performed, and never perform it from now on."""

    workflow_id: Name
    step_id: Name
    service: Name
    operation: Name
    round: Count = 1
    context: JsonObject = field(default_factory=dict[str, Any])


class StepRequest(SealRequest, frozen=True, kw_only=True):
    """`requested`: perform the step."""

    input: JsonObject = field(default_factory=dict[str, Any])
    attempt: Count = 1
    #: Not begun any more after this time; None: no limit.
    deadline: Moment | None = None


class CompensationRequest(StepRequest, frozen=True, kw_only=True):
    """`compensation-requested`: undo the step."""

    strategy: str = "REVERSE_OPERATION"
    step_output: JsonObject | None = None
    snapshot: JsonObject | None = None
    reason: str | None = None


# -- replies -------------------------------------------------------------------------------------


class ReportedFailure(Exchanged, frozen=True, kw_only=True):
    """Why an attempt failed; without `retryable` the type's default counts."""

    code: Name
    message: str = ""
    type: Name = "INTERNAL"
    retryable: bool | None = None
    #: The attempt may have had its effect: the step stays unresolved, as with the type UNKNOWN.
    outcome_unknown: bool = False


class Reply(Exchanged, frozen=True, kw_only=True):
    """The fields of every reply."""

    workflow_id: Name
    step_id: Name
    round: Count = 1
    #: Which instance of the service answered.
    instance: str | None = None


class StepReply(Reply, frozen=True, kw_only=True):
    """The reply to an attempt."""

    attempt: Count
    #: True: the answer to a compensation request; None: not said.
    compensation: bool | None = None
    #: The participant's own measurement, whatever it is; `duration_ms` is what can be used of it.
    execution_time_ms: Any = None

    @property
    def duration_ms(self) -> int:
        """Milliseconds; 0 if the measurement is not a duration, which is never a reason to refuse a reply."""
        given = self.execution_time_ms
        is_number = isinstance(given, int | float) and not isinstance(given, bool)
        return int(given) if is_number and 0 <= given <= _DURATION_MS_MAX else 0


class StepCompleted(StepReply, frozen=True, kw_only=True):
    """`completed`."""

    output: JsonObject | None = None
    snapshot: JsonObject | None = None


class StepFailed(StepReply, frozen=True, kw_only=True):
    """`failed`: unless the type is UNKNOWN, this attempt did nothing and never will (rule 3)."""

    error: ReportedFailure
    #: True: the step was performed all the same, and the error says why its output cannot be used.
    performed: bool = False


class Sealed(Reply, frozen=True, kw_only=True):
    """`sealed`: the step was `performed` with `output`, or never will be."""

    performed: bool
    output: JsonObject | None = None
    #: Of a performed step, if its handler kept one.
    snapshot: JsonObject | None = None
    #: Why the output of a performed step cannot be used.
    error: ReportedFailure | None = None
    #: The attempt that performed.
    attempt: Count | None = None

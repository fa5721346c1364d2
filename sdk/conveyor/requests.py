"""A request on its way through a participant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from conveyor import types
from conveyor.keys import UNDO_SUFFIX, Failure, KeyRecord
from conveyor.messages import MalformedEvent
from conveyor.participant import Operation, Participant
from conveyor.payloads import InvalidPayload, parse
from conveyor.transport import Taken
from conveyor.wire import CompensationRequest, SealRequest, StepRequest

Kind = Literal["perform", "undo", "seal"]


@dataclass(slots=True, eq=False)
class Request:
    """One request, with what it led to as soon as that is known."""

    taken: Taken
    kind: Kind
    body: StepRequest | CompensationRequest | SealRequest
    key: str
    #: The step's own key: requests of one step are handled one at a time, its undo included.
    step_key: str
    #: None: nobody performs this operation here (seals need none).
    operation: Operation | None
    #: The records to save; the reply is read off `records[key]`.
    records: dict[str, KeyRecord] = field(default_factory=dict[str, KeyRecord])
    #: Set: answered with this failure, whatever the record says.
    failure: Failure | None = None
    #: Not answered now; the engine asks again.
    withheld: bool = False

    @property
    def attempt(self) -> int:
        return self.body.attempt if isinstance(self.body, StepRequest) else 0

    @property
    def claims(self) -> dict[str, int]:
        """The keys to hold, with the attempt that may be begun under each."""
        if self.kind == "undo" and self.operation is not None and self.operation.tied:
            return {self.key: self.attempt, self.step_key: 0}
        return {self.key: self.attempt}


def read_request(taken: Taken, participant: Participant) -> Request:
    """The request of a message; raises `MalformedEvent` when it is none."""
    message = taken.message
    key = message.extensions.get("idempotencykey")
    if not key:
        raise MalformedEvent("MISSING_ATTRIBUTE", "a request needs the attribute idempotencykey")
    if (message.type == types.COMPENSATION_REQUESTED) is not key.endswith(UNDO_SUFFIX):
        raise MalformedEvent(
            "INVALID_KEY", f"{key!r}: the key of an undo ends with {UNDO_SUFFIX}, no other does"
        )
    try:
        if message.type == types.STEP_REQUESTED:
            body = parse(StepRequest, message.data)
            operation = participant.steps.get((body.service, body.operation))
            return Request(taken, "perform", body, key, key, operation)
        if message.type == types.COMPENSATION_REQUESTED:
            body = parse(CompensationRequest, message.data)
            operation = participant.compensations.get((body.service, body.operation))
            return Request(taken, "undo", body, key, key.removesuffix(UNDO_SUFFIX), operation)
        if message.type == types.SEAL_REQUESTED:
            return Request(taken, "seal", parse(SealRequest, message.data), key, key, None)
    except InvalidPayload as error:
        raise MalformedEvent("INVALID_DATA", str(error)) from None
    raise MalformedEvent("UNKNOWN_TYPE", f"{message.type!r} is no request to a participant")

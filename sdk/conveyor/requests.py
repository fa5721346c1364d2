"""A request on its way through a participant."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import Literal

from conveyor import types
from conveyor.keys import UNDO_SUFFIX, VERIFY_SUFFIX, Failure, KeyRecord
from conveyor.messages import MalformedEvent
from conveyor.participant import Operation, Participant
from conveyor.payloads import InvalidPayload, parse
from conveyor.transport import Taken
from conveyor.wire import CompensationRequest, SealRequest, StepRequest

#: A mapping of a definition puts values of up to `NESTING_MAX` levels deeper into each other.
REQUEST_NESTING_MAX = 100

Kind = Literal["perform", "undo", "seal"]


@dataclass(slots=True, eq=False)
class Request:
    """One request, with what it led to as soon as that is known."""

    taken: Taken
    kind: Kind
    body: StepRequest | CompensationRequest | SealRequest
    #: Of the record.
    key: str
    #: The step's own key: requests of one step are handled one at a time, its undo included.
    step_key: str
    #: None: nobody performs this operation here (seals need none).
    operation: Operation | None
    #: 0 for a seal.
    attempt: int
    #: The keys to hold, with the attempt to claim under each (0: none).
    claims: dict[str, int]
    #: The records to save; the reply is read off `records[key]`.
    records: dict[str, KeyRecord] = field(default_factory=dict[str, KeyRecord])
    #: Set: answered with this failure, whatever the record says.
    failure: Failure | None = None
    #: Not answered now; the engine asks again.
    withheld: bool = False


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
            return _perform(
                taken, parse(StepRequest, message.data, REQUEST_NESTING_MAX), key, participant
            )
        if message.type == types.COMPENSATION_REQUESTED:
            return _undo(
                taken,
                parse(CompensationRequest, message.data, REQUEST_NESTING_MAX),
                key,
                participant,
            )
        if message.type == types.SEAL_REQUESTED:
            body = parse(SealRequest, message.data, REQUEST_NESTING_MAX)
            return Request(taken, "seal", body, key, key, None, 0, {key: 0})
    except InvalidPayload as error:
        raise MalformedEvent("INVALID_DATA", str(error)) from None
    raise MalformedEvent("UNKNOWN_TYPE", f"{message.type!r} is no request to a participant")


def _perform(taken: Taken, body: StepRequest, key: str, participant: Participant) -> Request:
    if key.endswith(VERIFY_SUFFIX):
        # A check looks anew each time it is asked for: its record is of one attempt only.
        key = f"{key}/{body.attempt}"
    operation = participant.steps.get((body.service, body.operation))
    claims = {key: _claim(operation, body.attempt)}
    return Request(taken, "perform", body, key, key, operation, body.attempt, claims)


def _undo(taken: Taken, body: CompensationRequest, key: str, participant: Participant) -> Request:
    operation = participant.compensations.get((body.service, body.operation))
    step_key = key.removesuffix(UNDO_SUFFIX)
    claims = {key: _claim(operation, body.attempt)}
    if operation is not None and operation.tied:
        claims[step_key] = 0
    return Request(taken, "undo", body, key, step_key, operation, body.attempt, claims)


def _claim(operation: Operation | None, attempt: int) -> int:
    return 0 if operation is None else operation.claim(attempt)

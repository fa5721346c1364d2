"""A request on its way through a participant."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Literal

from conveyor import types
from conveyor.exchange import CompensationRequest, SealRequest, StepRequest
from conveyor.keys import UNDO_SUFFIX, VERIFY_SUFFIX, Failure, KeyRecord
from conveyor.messages import MalformedEvent, Message
from conveyor.participant import Operation, Participant
from conveyor.payloads import InvalidPayload, parse_exchanged
from conveyor.transport import Taken

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
    #: None: this participant does not have the operation.
    operation: Operation | None
    #: Of a seal: 0, or the attempt that is repeated to learn its outcome.
    attempt: int
    #: The keys to hold, with the attempt to claim under each (0: none).
    claims: dict[str, int]
    #: The records to save; the reply is read off `records[key]`.
    records: dict[str, KeyRecord] = field(default_factory=dict[str, KeyRecord])
    #: Of a seal: the request whose outcome is unknown, to be handled again.
    repeats: StepRequest | None = None
    #: Set: answered with this failure, whatever the record says.
    failure: Failure | None = None
    #: Not answered now; the engine asks again.
    withheld: bool = False


def read_request(taken: Taken, participant: Participant) -> Request:
    """The request of a message. Raises `MalformedEvent` for any other message.

    A message names its workflow, step, round and purpose in several places. A request whose places
    disagree is refused, because it is unclear which effect was meant.
    """
    message = taken.message
    key = message.extensions.get("idempotencykey")
    if not key:
        raise MalformedEvent("MISSING_ATTRIBUTE", "a request needs the attribute idempotencykey")
    model = _MODELS.get(message.type)
    if model is None:
        raise MalformedEvent("UNKNOWN_TYPE", f"{message.type!r} is not a request to a participant")
    try:
        body = parse_exchanged(model, message.data, REQUEST_NESTING_MAX)
    except InvalidPayload as error:
        raise MalformedEvent("INVALID_DATA", str(error)) from None
    _require_one_identity(message, key, body)
    if isinstance(body, CompensationRequest):
        return _undo(taken, body, key, participant)
    if isinstance(body, StepRequest):
        return _perform(taken, body, key, participant)
    operation = participant.find_step(body.service, body.operation)
    return Request(taken, "seal", body, key, key, operation, 0, {key: 0})


_MODELS: Mapping[str, type[SealRequest]] = {
    types.STEP_REQUESTED: StepRequest,
    types.COMPENSATION_REQUESTED: CompensationRequest,
    types.SEAL_REQUESTED: SealRequest,
}


def _require_one_identity(message: Message, key: str, body: SealRequest) -> None:
    """Raises `MalformedEvent` with the code INVALID_KEY or CONFLICTING_IDS."""
    ending = next((suffix for suffix in (UNDO_SUFFIX, VERIFY_SUFFIX) if key.endswith(suffix)), "")
    parts = key.removesuffix(ending).split("/")
    if ending not in _ENDINGS[message.type] or len(parts) not in (3, 4):
        raise MalformedEvent(
            "INVALID_KEY",
            f"{key!r} is not the key of a {message.type}:"
            f" <workflow>/<step>[/<item>]/<round>{' or '.join(_ENDINGS[message.type])}",
        )
    # A workflow that was continued writes `<run>~` before its steps.
    step_id = parts[1].rpartition("~")[2]
    attempt = body.attempt if isinstance(body, StepRequest) else None
    for name, here, there in (
        ("workflowId and idempotencykey", body.workflow_id, parts[0]),
        ("workflowId and the record's key", body.workflow_id, message.key),
        ("workflowId and subject", body.workflow_id, message.subject),
        ("stepId and idempotencykey", body.step_id, step_id),
        ("round and idempotencykey", str(body.round), parts[-1]),
        ("the two attempts", attempt and str(attempt), message.extensions.get("attempt")),
    ):
        if here is not None and there is not None and here != there:
            raise MalformedEvent("CONFLICTING_IDS", f"{name} differ: {here!r}, {there!r}")


#: How the idempotency key of each type may end.
_ENDINGS: Mapping[str, tuple[str, ...]] = {
    types.STEP_REQUESTED: ("", VERIFY_SUFFIX),
    types.COMPENSATION_REQUESTED: (UNDO_SUFFIX,),
    types.SEAL_REQUESTED: ("",),
}


def _perform(taken: Taken, body: StepRequest, key: str, participant: Participant) -> Request:
    if key.endswith(VERIFY_SUFFIX):
        # A check looks again each time it is asked for: its record is of one attempt only.
        key = f"{key}/{body.attempt}"
    operation = participant.find_step(body.service, body.operation)
    claims = {key: _claim(operation, body.attempt)}
    return Request(taken, "perform", body, key, key, operation, body.attempt, claims)


def _undo(taken: Taken, body: CompensationRequest, key: str, participant: Participant) -> Request:
    operation = participant.find_compensation(body.service, body.operation)
    step_key = key.removesuffix(UNDO_SUFFIX)
    claims = {key: _claim(operation, body.attempt)}
    if operation is not None and operation.tied:
        claims[step_key] = 0
    return Request(taken, "undo", body, key, step_key, operation, body.attempt, claims)


def _claim(operation: Operation | None, attempt: int) -> int:
    return 0 if operation is None else operation.claim(attempt)

"""The record of an idempotency key, and the decisions that follow from it (PROTOCOL rules 1-4, 10).

A record says: no effect yet, performed, failed up to some attempt, or sealed. It also keeps the
attempt of an unresolved claim. `on_request`, `on_undo` and `on_seal` decide about a request;
`performed`, `failed` and `unknown` make the record after a handler's outcome. All of it is pure.

A reply depends on the record alone, so the same request always gets the same reply.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum, StrEnum
from typing import Any, Literal, NamedTuple

import orjson

from conveyor.values import Value, replace

UNDO_SUFFIX = "/undo"
#: The key of the check that an undo held ends with this.
VERIFY_SUFFIX = "/verify"

#: What to do with a claim that a dead process left behind, whose step may have been done or not.
OnLostClaim = Literal["run", "refuse"]


class KeyState(StrEnum):
    """The certain facts about a key."""

    #: No effect so far.
    NONE = "none"
    #: The effect is there. With a `failure`, its output cannot be used.
    PERFORMED = "performed"
    #: Attempts up to `attempt` had no effect and never will. Those up to `claimed` may have had one.
    FAILED = "failed"
    #: There is no effect and never will be.
    SEALED = "sealed"


@dataclass(frozen=True, slots=True)
class Failure:
    """Why an attempt failed; the `error` of its reply."""

    code: str
    message: str
    type: str
    retryable: bool
    #: The effect may be there all the same.
    outcome_unknown: bool = False


EXPIRED = Failure("EXPIRED", "The request's deadline passed before it was begun", "TIMEOUT", True)
SEALED = Failure(
    "SEALED", "The step was sealed; it is never performed under this key", "SEALED", False
)
LOST_CLAIM = Failure(
    "LOST_CLAIM", "This attempt was begun and nobody knows how it ended", "UNKNOWN", False
)


class KeyRecord(Value):
    """The memory of one idempotency key; JSON values are kept as bytes."""

    state: KeyState = KeyState.NONE
    #: The attempt that performed, or the highest that failed.
    attempt: int = 0
    output: bytes = b"{}"
    snapshot: bytes | None = None
    execution_time_ms: int = 0
    #: Of the highest failed attempt, or why the output of a performed step cannot be used.
    failure: Failure | None = None
    #: The highest attempt that was begun but not resolved; 0: none.
    claimed: int = 0
    #: The data of that attempt's request, if its handler ended without knowing the outcome.
    request: bytes | None = None


class Action(Enum):
    """The action that a request requires."""

    #: Call the handler.
    RUN = "run"
    #: Answer from the record.
    ANSWER = "answer"
    #: Answer that the outcome is unknown.
    ANSWER_UNKNOWN = "answer-unknown"
    #: Say nothing: an answer would have to guess. The engine asks again.
    WITHHOLD = "withhold"


class Decision(NamedTuple):
    """An action, and the key's record from now on."""

    action: Action
    record: KeyRecord


class UndoDecision(NamedTuple):
    """As `Decision`, with the record of the step's own key."""

    action: Action
    record: KeyRecord
    forward: KeyRecord


def on_request(
    record: KeyRecord, attempt: int, *, expired: bool, on_lost_claim: OnLostClaim
) -> Decision:
    """A request to perform; `expired` says that its deadline has passed."""
    if is_final(record):
        return Decision(Action.ANSWER, record)
    if record.state is KeyState.FAILED and attempt <= record.attempt:
        # A later attempt failed for certain. Those up to the claim may have had their effect all the same.
        is_open = attempt <= record.claimed
        return Decision(Action.ANSWER_UNKNOWN if is_open else Action.ANSWER, record)
    if record.claimed:
        # It was begun: "expired before it was begun" would be a false promise.
        action = Action.RUN if on_lost_claim == "run" else Action.ANSWER_UNKNOWN
        return Decision(action, record)
    if expired:
        return Decision(Action.ANSWER, failed(attempt, EXPIRED))
    return Decision(Action.RUN, record)


def on_undo(
    undo: KeyRecord,
    forward: KeyRecord,
    attempt: int,
    *,
    expired: bool,
    on_lost_claim: OnLostClaim,
    known_done: bool,
) -> UndoDecision:
    """A request to undo a step whose own key this participant keeps too.

    A step that was not performed is sealed by it, so that nothing is performed after its undo. One
    that certainly was not, and that the engine does not report as done (`known_done`), needs none.
    """
    if forward.state is KeyState.PERFORMED:
        action, record = on_request(undo, attempt, expired=expired, on_lost_claim=on_lost_claim)
        return UndoDecision(action, record, forward)
    begun = undo.state is not KeyState.NONE or undo.claimed
    if not (begun or known_done or forward.claimed):
        return UndoDecision(Action.ANSWER, performed(attempt, b"{}"), sealed(forward))
    action, record = on_request(undo, attempt, expired=expired, on_lost_claim=on_lost_claim)
    return UndoDecision(action, record, sealed(forward))


def on_seal(record: KeyRecord, on_lost_claim: OnLostClaim = "refuse") -> Decision:
    """A request to say whether the step was performed, and never to perform it from now on.

    If a handler ended without knowing, it is run again: its outcome is the answer.
    """
    if is_final(record):
        return Decision(Action.ANSWER, record)
    if record.claimed:
        repeats = record.request is not None and on_lost_claim == "run"
        return Decision(Action.RUN if repeats else Action.WITHHOLD, record)
    return Decision(Action.ANSWER, sealed(record))


def is_final(record: KeyRecord) -> bool:
    """Whether every request has its reply in the record."""
    return record.state is KeyState.PERFORMED or record.state is KeyState.SEALED


def performed(
    attempt: int, output: bytes, *, snapshot: bytes | None = None, execution_time_ms: int = 0
) -> KeyRecord:
    """The record after a success; `output` and `snapshot` are JSON."""
    return KeyRecord(
        state=KeyState.PERFORMED,
        attempt=attempt,
        output=output,
        snapshot=snapshot,
        execution_time_ms=execution_time_ms,
    )


def performed_without_output(
    attempt: int, code: str, message: str, *, execution_time_ms: int = 0
) -> KeyRecord:
    """The record after an effect whose output cannot be used.

    It is final: the step is never performed again, and every request gets the same failure, of the type
    UNKNOWN since the effect is there. A seal finds the step performed.
    """
    return KeyRecord(
        state=KeyState.PERFORMED,
        attempt=attempt,
        execution_time_ms=execution_time_ms,
        failure=Failure(code, message, "UNKNOWN", False),
    )


def failed(attempt: int, failure: Failure) -> KeyRecord:
    """The record after an attempt that had no effect."""
    return KeyRecord(state=KeyState.FAILED, attempt=attempt, failure=failure)


def abandoned(record: KeyRecord, attempt: int) -> KeyRecord:
    """The record of a key that a process held for this attempt when it died.

    If the record has a reply to the attempt, that process could only repeat it: it began nothing.
    """
    if is_final(record) or (record.state is KeyState.FAILED and attempt <= record.attempt):
        return record
    return replace(record, claimed=max(record.claimed, attempt))


def unknown(record: KeyRecord, attempt: int, request: bytes | None = None) -> KeyRecord:
    """The record after an attempt whose outcome is unknown."""
    return replace(record, claimed=attempt, request=request)


def sealed(record: KeyRecord) -> KeyRecord:
    """The record of a step that never will be performed."""
    if record.state is KeyState.SEALED and not record.claimed:
        return record
    return KeyRecord(state=KeyState.SEALED)


def dumps(record: KeyRecord) -> bytes:
    """The record as JSON, without what is at its default."""
    document: dict[str, Any] = {"state": record.state.value}
    if record.attempt:
        document["attempt"] = record.attempt
    if record.state is KeyState.PERFORMED:
        document["output"] = orjson.Fragment(record.output)
        document["executionTimeMs"] = record.execution_time_ms
        if record.snapshot is not None:
            document["snapshot"] = orjson.Fragment(record.snapshot)
    if (failure := record.failure) is not None:
        document["error"] = {
            "code": failure.code,
            "message": failure.message,
            "type": failure.type,
            "retryable": failure.retryable,
        }
    if record.claimed:
        document["claimed"] = record.claimed
    if record.request is not None:
        document["request"] = orjson.Fragment(record.request)
    return orjson.dumps(document)


def loads(data: bytes | str) -> KeyRecord:
    """The record that `dumps` wrote."""
    document: dict[str, Any] = orjson.loads(data)
    snapshot = document.get("snapshot")
    error = document.get("error")
    request = document.get("request")
    return KeyRecord(
        state=KeyState(document["state"]),
        attempt=document.get("attempt", 0),
        output=orjson.dumps(document.get("output", {})),
        snapshot=None if snapshot is None else orjson.dumps(snapshot),
        execution_time_ms=document.get("executionTimeMs", 0),
        failure=None if error is None else Failure(**error),
        claimed=document.get("claimed", 0),
        request=None if request is None else orjson.dumps(request),
    )

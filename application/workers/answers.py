"""What a worker answers to a request, and what follows for the request's key."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import replace
from typing import Any, cast

import orjson
from conveyor import types
from conveyor.exchange import ReportedFailure, Sealed, StepCompleted, StepFailed
from conveyor.execution import fail
from conveyor.handlers import INVALID_OUTPUT, MAX_OUTPUT_BYTES, TOO_LARGE
from conveyor.keys import (
    EXPIRED,
    LOST_CLAIM,
    Failure,
    KeyRecord,
    performed,
    performed_without_output,
    sealed,
)
from conveyor.payloads import InvalidPayload, parse_reply
from conveyor.requests import Request

from application.use_cases.refusal import refused_for
from domain.workflow.failure import is_recoverable_type

Answer = StepCompleted | StepFailed | Sealed

#: By the kind of the request.
_ANSWERS: Mapping[str, Mapping[str, type[Answer]]] = {
    "perform": {types.STEP_COMPLETED: StepCompleted, types.STEP_FAILED: StepFailed},
    "undo": {types.STEP_COMPLETED: StepCompleted, types.STEP_FAILED: StepFailed},
    "seal": {types.STEP_SEALED: Sealed},
}


def read_answer(request: Request, event: Mapping[str, Any]) -> tuple[Answer, str | None]:
    """The answer in a structured CloudEvent, and why its output cannot be used, if so.

    What names the step is taken from the request where the answer leaves it out. Raises Refused
    (INVALID_INPUT) for an answer to something else, and for one that nobody could understand.
    """
    possible = _ANSWERS[request.kind]
    model = possible.get(str(event.get("type")))
    if model is None:
        fault = f"is {event.get('type')!r}; this request is answered with {' or '.join(possible)}"
        raise refused_for([{"path": "event.type", "message": fault}])
    given = event.get("data")
    if not isinstance(given, dict):
        raise refused_for([{"path": "event.data", "message": "is not an object"}])
    data = cast("dict[str, Any]", given)
    wanted = _identity(request)
    faults = [
        {"path": f"event.data.{name}", "message": f"is {data[name]!r}; the request has {value!r}"}
        for name, value in wanted.items()
        if data.get(name, value) != value
    ]
    # Of the message: the record of a verification has the attempt in its key.
    key = request.taken.message.extensions["idempotencykey"]
    if event.get("idempotencykey", key) != key:
        fault = f"is {event['idempotencykey']!r}; the request has {key!r}"
        faults.append({"path": "event.idempotencykey", "message": fault})
    if faults:
        raise refused_for(faults)
    try:
        return parse_reply(model, orjson.dumps({**data, **wanted}))
    except InvalidPayload as invalid:
        raise refused_for(
            [{**fault, "path": f"event.data.{fault['path']}"} for fault in invalid.faults]
        ) from invalid


def _identity(request: Request) -> dict[str, Any]:
    body = request.body
    identity: dict[str, Any] = {
        "workflowId": body.workflow_id,
        "stepId": body.step_id,
        "round": body.round,
    }
    return identity if request.kind == "seal" else {**identity, "attempt": request.attempt}


def is_success(answer: Answer) -> bool:
    """It says that the step was performed, which stays true after the lease has ended."""
    match answer:
        case StepCompleted():
            return True
        case StepFailed() | Sealed():
            return answer.performed


def settle(request: Request, answer: Answer, unusable: str | None) -> None:
    """Decide the request by its answer. `unusable`: why the output cannot be used."""
    record = request.records[request.key]
    match answer:
        case StepCompleted():
            after = _performed(request, answer, unusable)
        case StepFailed(performed=True):
            after = performed_without_output(
                request.attempt, answer.error.code, answer.error.message
            )
        case StepFailed():
            _fail(request, answer.error)
            return
        case Sealed(performed=True):
            after = _found_performed(request, answer, unusable)
        case Sealed():
            after = sealed(record)
    request.records[request.key] = after


def _performed(request: Request, answer: StepCompleted, unusable: str | None) -> KeyRecord:
    if request.kind == "undo":
        # Nobody needs its output.
        return performed(request.attempt, b"{}", execution_time_ms=answer.duration_ms)
    return _with_output(request.attempt, answer, unusable, answer.duration_ms)


def _found_performed(request: Request, answer: Sealed, unusable: str | None) -> KeyRecord:
    attempt = answer.attempt or request.attempt
    if answer.error is not None:
        return performed_without_output(attempt, answer.error.code, answer.error.message)
    return _with_output(attempt, answer, unusable)


def _with_output(
    attempt: int, answer: StepCompleted | Sealed, unusable: str | None, execution_time_ms: int = 0
) -> KeyRecord:
    """With the limits of any participant, since the reply has to fit on its topic."""
    if unusable is not None:
        return performed_without_output(attempt, INVALID_OUTPUT, unusable)
    output = orjson.dumps(answer.output or {})
    snapshot = None if answer.snapshot is None else orjson.dumps(answer.snapshot)
    largest = max(len(output), len(snapshot or b""))
    if largest > MAX_OUTPUT_BYTES:
        detail = f"{largest} bytes; an output or snapshot has at most {MAX_OUTPUT_BYTES}"
        return performed_without_output(attempt, TOO_LARGE, detail)
    return performed(attempt, output, snapshot=snapshot, execution_time_ms=execution_time_ms)


def _fail(request: Request, error: ReportedFailure) -> None:
    """A failed attempt did nothing (PROTOCOL rule 3), unless its answer says otherwise. It settles no earlier one."""
    claimed = request.records[request.key].claimed
    failure = Failure(
        error.code,
        error.message,
        error.type,
        is_recoverable_type(error.type) if error.retryable is None else error.retryable,
        outcome_unknown=error.outcome_unknown or error.type == "UNKNOWN",
    )
    fail(request, failure, leaves_earlier_open=0 < claimed < request.attempt)


def not_begun(request: Request) -> None:
    """Its deadline passed before a worker took it."""
    fail(request, EXPIRED, leaves_earlier_open=False)


def lost(request: Request) -> None:
    """A worker took it and did not answer in time."""
    fail(request, replace(LOST_CLAIM, outcome_unknown=True), leaves_earlier_open=False)

"""Deciding a request by its keys, and running its handler: from opened records to new ones."""

from __future__ import annotations

import asyncio
import logging
import signal
import time
from collections.abc import Awaitable
from datetime import datetime
from typing import Any, cast

import msgspec
import orjson

from conveyor.errors import RetryableError, StepError, TerminalError, UnknownOutcomeError
from conveyor.exchange import CompensationRequest, StepRequest
from conveyor.handlers import StepContext, UnusableOutput, encode_result
from conveyor.keys import (
    LOST_CLAIM,
    Action,
    Failure,
    KeyRecord,
    OnLostClaim,
    failed,
    on_request,
    on_seal,
    on_undo,
    performed,
    performed_without_output,
    sealed,
    unknown,
)
from conveyor.requests import Request
from conveyor.values import replace

log = logging.getLogger(__name__)

_MAX_MESSAGE_CHARACTERS = 4_000
#: A reply without a code or type would be a dead letter.
_UNNAMED = "INTERNAL"


def decide(request: Request, now: datetime) -> bool:
    """Whether the handler is to run; if not, the request is decided."""
    body, records = request.body, request.records
    operation = request.operation
    if not isinstance(body, StepRequest):
        return _seal(request, "refuse" if operation is None else operation.on_lost_claim)
    on_lost_claim = "run" if operation is None else operation.on_lost_claim
    expired = body.deadline is not None and body.deadline < now
    record = records[request.key]
    if isinstance(body, CompensationRequest) and request.step_key in records:
        action, records[request.key], records[request.step_key] = on_undo(
            record,
            records[request.step_key],
            body.attempt,
            expired=expired,
            on_lost_claim=on_lost_claim,
            known_done=body.step_output is not None,
        )
    else:
        action, records[request.key] = on_request(
            record, body.attempt, expired=expired, on_lost_claim=on_lost_claim
        )
    if action is Action.ANSWER_UNKNOWN:
        request.failure = LOST_CLAIM
    return action is Action.RUN


def _seal(request: Request, on_lost_claim: OnLostClaim) -> bool:
    action, record = on_seal(request.records[request.key], on_lost_claim)
    request.records[request.key] = record
    if action is Action.RUN and record.request is not None:
        request.attempt = record.claimed
        # The kept request may be of a later attempt, which did nothing for certain.
        repeats = msgspec.json.decode(record.request, type=StepRequest)
        request.repeats = replace(repeats, attempt=record.claimed)
        return True
    if action is Action.WITHHOLD:
        _withhold(request)
    return False


def _withhold(request: Request) -> None:
    request.withheld = True
    log.warning("Cannot seal %s: it was begun and its outcome is unknown", request.key)


def run(request: Request) -> Awaitable[None] | None:
    """Run the handler: None when the request is decided, else what to await until it is."""
    started = time.perf_counter()
    try:
        result = _call(request)
        if not hasattr(result, "__await__"):
            _succeed(request, result, started)
            return None
    except BaseException as error:  # handlers may raise SystemExit: see _is_outcome
        if not _is_outcome(error):
            raise
        _fail(request, error)
        return None
    return _run_on(request, cast("Awaitable[Any]", result), started)


def run_in_thread(request: Request) -> Awaitable[None] | None:
    """As `run`, with a plain handler in a thread of the loop's default executor."""
    operation = request.operation
    if operation is None or operation.handler.is_async:
        return run(request)
    return _run_on(request, _called_in_thread(request), time.perf_counter())


async def _called_in_thread(request: Request) -> Any:
    result = await asyncio.to_thread(_call, request)
    return await result if hasattr(result, "__await__") else result


async def _run_on(request: Request, result: Awaitable[Any], started: float) -> None:
    try:
        _succeed(request, await result, started)
    except BaseException as error:  # handlers may raise SystemExit: see _is_outcome
        if not _is_outcome(error):
            raise
        _fail(request, error)


def _is_outcome(raised: BaseException) -> bool:
    """Whether the handler raised it, and not a request to stop the process.

    `sys.exit()` in a library, or a cancelled task that the handler awaited, must not end the participant: the
    request would end it again after each restart, or never be decided. Ctrl-C comes as KeyboardInterrupt only
    while Python's own handler of SIGINT is installed; `asyncio.run` and the event loop have others.
    """
    if isinstance(raised, asyncio.CancelledError):
        task = asyncio.current_task()
        return task is None or task.cancelling() == 0
    if isinstance(raised, KeyboardInterrupt):
        return signal.getsignal(signal.SIGINT) is not signal.default_int_handler
    return True


def _call(request: Request) -> Any:
    body, operation = request.repeats or cast("StepRequest", request.body), request.operation
    if operation is None:
        # No TerminalError: an earlier release may have had the operation, and begun it.
        raise StepError(
            "UNKNOWN_OPERATION",
            f"no handler for {body.service}.{body.operation} ({request.kind})",
            "VALIDATION_ERROR",
        )
    handler = operation.handler
    return handler.call(body.input, _context(request, body) if handler.takes_context else None)


def _context(request: Request, body: StepRequest) -> StepContext:
    undo = body if isinstance(body, CompensationRequest) else None
    return StepContext(
        workflow_id=body.workflow_id,
        step_id=body.step_id,
        idempotency_key=request.key,
        attempt=body.attempt,
        round=body.round,
        deadline=body.deadline,
        correlation_id=request.taken.message.extensions.get("correlationid"),
        fencing_token=body.context.get("fencingToken"),
        recovered=request.records[request.key].claimed > 0,
        context=body.context,
        strategy=None if undo is None else undo.strategy,
        reason=None if undo is None else undo.reason,
        step_output=None if undo is None else undo.step_output,
        snapshot=None if undo is None else undo.snapshot,
    )


def _succeed(request: Request, result: Any, started: float) -> None:
    elapsed = round((time.perf_counter() - started) * 1000)
    try:
        output, snapshot = encode_result(result)
    except UnusableOutput as fault:
        log.exception("%s was performed, and its output cannot be used", request.key)
        request.records[request.key] = _without_output(request, fault, elapsed)
    else:
        request.records[request.key] = performed(
            request.attempt, output, snapshot=snapshot, execution_time_ms=elapsed
        )


def _without_output(request: Request, fault: UnusableOutput, elapsed: int) -> KeyRecord:
    """It was performed. The output of an undo is not needed; without that of a step, the workflow cannot continue."""
    if request.kind == "undo":
        return performed(request.attempt, b"{}", execution_time_ms=elapsed)
    return performed_without_output(
        request.attempt,
        fault.code,
        _storable(fault.detail),
        execution_time_ms=elapsed,
    )


def _fail(request: Request, raised: BaseException) -> None:
    error = raised if isinstance(raised, StepError) else _as_step_error(request.key, raised)
    claimed = request.records[request.key].claimed
    # A run that could not do anything says nothing about an earlier one whose outcome is unknown. If that was of the
    # same attempt, the outcome of this one stays unknown.
    leaves_earlier_open = claimed > 0 and not isinstance(error, TerminalError)
    is_unknown = isinstance(error, UnknownOutcomeError) or (
        leaves_earlier_open and claimed >= request.attempt
    )
    failure = Failure(
        _storable(error.code) or _UNNAMED,
        _storable(error.message),
        _storable(error.type) or _UNNAMED,
        error.retryable,
        outcome_unknown=is_unknown,
    )
    fail(request, failure, leaves_earlier_open=leaves_earlier_open)


def fail(request: Request, failure: Failure, *, leaves_earlier_open: bool) -> None:
    """Decide the request by a failure of its attempt.

    `leaves_earlier_open`: an earlier run may have had an effect all the same.
    """
    record = request.records[request.key]
    is_unknown = failure.outcome_unknown
    is_open = is_unknown or leaves_earlier_open
    if request.repeats is not None:
        if is_open:
            _withhold(request)
        else:
            request.records[request.key] = sealed(record)
        return
    after = record if is_unknown else failed(request.attempt, failure)
    if is_open:
        claimed = max(request.attempt, record.claimed) if is_unknown else record.claimed
        after = unknown(after, claimed, orjson.dumps(orjson.loads(request.taken.message.data)))
    request.records[request.key] = after
    request.failure = failure


def _storable(given: object) -> str:
    """The text in a form that fits into a reply, whatever a handler gave: shortened, and without half characters."""
    try:
        text = str(given)
    except Exception:  # noqa: BLE001 - a text of the handler's own making
        text = "its text cannot be read"
    return text[:_MAX_MESSAGE_CHARACTERS].encode(errors="replace").decode()


def _as_step_error(key: str, error: BaseException) -> StepError:
    """What an exception of a handler means, by the types of S-003-21.

    A refused connection carried nothing, so the attempt had no effect. After any other broken
    connection, and after a time-out, the outcome is unknown (PROTOCOL rule 3): the step is tried again, and stays
    unresolved until an attempt or a seal settles it.
    """
    message = f"{type(error).__name__}: {_storable(error)}"
    match error:
        case asyncio.CancelledError() | KeyboardInterrupt():
            log.warning("The handler of %s was interrupted from within", key, exc_info=error)
            return UnknownOutcomeError("INTERRUPTED", message, "UNKNOWN")
        case TimeoutError():
            log.warning("The handler of %s timed out", key, exc_info=error)
            return UnknownOutcomeError("TIMEOUT", message, "TIMEOUT")
        case ConnectionRefusedError():
            log.warning("The handler of %s could not connect", key, exc_info=error)
            return RetryableError("SERVICE_UNAVAILABLE", message)
        case ConnectionError():
            log.warning("The handler of %s lost a connection", key, exc_info=error)
            return UnknownOutcomeError("SERVICE_UNAVAILABLE", message, "SERVICE_UNAVAILABLE")
        case _:
            log.error("The handler of %s failed unexpectedly", key, exc_info=error)
            return StepError("INTERNAL", message)

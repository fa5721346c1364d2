"""The reply to a decided request, read off its record."""

from __future__ import annotations

from typing import Any

import orjson

from conveyor import topics, types
from conveyor.handlers import TOO_LARGE
from conveyor.keys import SEALED, Failure, KeyState
from conveyor.messages import Message
from conveyor.requests import Request
from conveyor.values import replace


def reply_to(request: Request, source: str, instance: str, time: str) -> Message:
    """The reply to a decided request; its id is derived from the request's."""
    asked = request.taken.message
    if request.kind == "seal":
        reply_type, data = types.STEP_SEALED, _sealed_data(request, instance)
    elif (failure := _failure(request)) is not None:
        reply_type, data = types.STEP_FAILED, _failed_data(request, failure, instance)
    else:
        reply_type, data = types.STEP_COMPLETED, _completed_data(request, instance)
    extensions = {"idempotencykey": asked.extensions["idempotencykey"], "causationid": asked.id}
    for name in ("correlationid", "traceparent"):
        if (value := asked.extensions.get(name)) is not None:
            extensions[name] = value
    workflow_id = request.body.workflow_id
    return Message(
        topic=topics.REPLIES,
        key=workflow_id,
        type=reply_type,
        source=source,
        id=asked.id + "/reply",
        data=data,
        subject=workflow_id,
        time=time,
        dataschema=types.dataschema(reply_type),
        extensions=extensions,
    )


def _failure(request: Request) -> Failure | None:
    if request.failure is not None:
        return request.failure
    record = request.records[request.key]
    return SEALED if record.state is KeyState.SEALED else record.failure


def _completed_data(request: Request, instance: str) -> bytes:
    body, record = request.body, request.records[request.key]
    return orjson.dumps(
        {
            "workflowId": body.workflow_id,
            "stepId": body.step_id,
            "attempt": request.attempt,
            "round": body.round,
            "compensation": request.kind == "undo",
            "output": orjson.Fragment(record.output),
            "executionTimeMs": record.execution_time_ms,
            "snapshot": None if record.snapshot is None else orjson.Fragment(record.snapshot),
            "instance": instance,
        }
    )


def _failed_data(request: Request, failure: Failure, instance: str) -> bytes:
    body = request.body
    data: dict[str, Any] = {
        "workflowId": body.workflow_id,
        "stepId": body.step_id,
        "attempt": request.attempt,
        "round": body.round,
        "compensation": request.kind == "undo",
        "error": _error_data(failure),
        "instance": instance,
    }
    if request.records[request.key].state is KeyState.PERFORMED:
        data["performed"] = True
    return orjson.dumps(data)


def _error_data(failure: Failure) -> dict[str, Any]:
    error: dict[str, Any] = {
        "code": failure.code,
        "message": failure.message,
        "type": failure.type,
        "retryable": failure.retryable,
    }
    if failure.outcome_unknown:
        error["outcomeUnknown"] = True
    return error


def _sealed_data(request: Request, instance: str) -> bytes:
    body, record = request.body, request.records[request.key]
    done = record.state is KeyState.PERFORMED
    unusable = record.failure if done else None
    data: dict[str, Any] = {
        "workflowId": body.workflow_id,
        "stepId": body.step_id,
        "round": body.round,
        "performed": done,
        "output": orjson.Fragment(record.output) if done and not unusable else None,
        "attempt": record.attempt if done else None,
        "instance": instance,
    }
    if unusable is not None:
        data["error"] = _error_data(unusable)
    if record.snapshot is not None:
        data["snapshot"] = orjson.Fragment(record.snapshot)
    return orjson.dumps(data)


def without_output(reply: Message) -> Message:
    """The reply for a topic that does not take it with its output and snapshot.

    A step that was performed says so all the same, with an error in place of its output.
    """
    data: dict[str, Any] = orjson.loads(reply.data)
    for name in ("output", "snapshot", "executionTimeMs"):
        data.pop(name, None)
    message = f"{topics.REPLIES} does not take a reply of {len(reply.data)} bytes"
    error = _error_data(Failure(TOO_LARGE, message, "UNKNOWN", retryable=False))
    if reply.type == types.STEP_COMPLETED and not data["compensation"]:
        data |= {"error": error, "performed": True}
        reply_type = types.STEP_FAILED
        return replace(
            reply, type=reply_type, dataschema=types.dataschema(reply_type), data=orjson.dumps(data)
        )
    if reply.type == types.STEP_SEALED:
        data["error"] = error
    return replace(reply, data=orjson.dumps(data))

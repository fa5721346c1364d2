"""Requests as the engine writes them, and a running participant to send them to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager
from datetime import UTC, datetime, timedelta
from typing import Any

import orjson
from conveyor import topics, types
from conveyor.key_store import KeyStore
from conveyor.messages import Message
from conveyor.participant import Participant
from conveyor.runner import ParticipantRunner
from conveyor.times import rfc3339
from conveyor.transport import Transport

DEADLINE_SECONDS = 30.0


def step_request(
    workflow_id: str = "wf-1",
    *,
    operation: str = "reserve",
    service: str = "inventory-service",
    step_id: str = "reserve-inventory",
    attempt: int = 1,
    round: int = 1,
    deadline: timedelta | None = timedelta(minutes=5),
    input: dict[str, Any] | None = None,
) -> Message:
    """A forward request."""
    data = {
        **_common(workflow_id, step_id, service, operation, round),
        "input": input or {},
        "attempt": attempt,
        "deadline": None if deadline is None else rfc3339(datetime.now(UTC) + deadline),
    }
    return _message(types.STEP_REQUESTED, f"{workflow_id}/{step_id}/{round}", data, str(attempt))


def undo_request(
    workflow_id: str = "wf-1",
    *,
    operation: str = "release",
    service: str = "inventory-service",
    step_id: str = "reserve-inventory",
    attempt: int = 1,
    round: int = 1,
    step_output: dict[str, Any] | None = None,
    input: dict[str, Any] | None = None,
) -> Message:
    """A compensation request."""
    data = {
        **_common(workflow_id, step_id, service, operation, round),
        "input": input or {},
        "attempt": attempt,
        "deadline": None,
        "strategy": "REVERSE_OPERATION",
        "stepOutput": step_output,
        "snapshot": None,
        "reason": "a later step failed",
    }
    key = f"{workflow_id}/{step_id}/{round}/undo"
    return _message(types.COMPENSATION_REQUESTED, key, data, str(attempt))


def seal_request(
    workflow_id: str = "wf-1",
    *,
    operation: str = "reserve",
    service: str = "inventory-service",
    step_id: str = "reserve-inventory",
    round: int = 1,
) -> Message:
    """A seal request."""
    data = _common(workflow_id, step_id, service, operation, round)
    return _message(types.SEAL_REQUESTED, f"{workflow_id}/{step_id}/{round}", data, "seal")


def _common(
    workflow_id: str, step_id: str, service: str, operation: str, round: int
) -> dict[str, Any]:
    return {
        "workflowId": workflow_id,
        "stepId": step_id,
        "service": service,
        "operation": operation,
        "round": round,
        "context": {"correlationId": "corr-1", "tenant": "default", "fencingToken": 7},
    }


def _message(event_type: str, key: str, data: dict[str, Any], suffix: str) -> Message:
    workflow_id: str = data["workflowId"]
    return Message(
        topic=topics.step_requests(data["service"]),
        key=workflow_id,
        type=event_type,
        source="/conveyor",
        id=f"{key}#{suffix}",
        data=orjson.dumps(data),
        subject=workflow_id,
        time=rfc3339(datetime.now(UTC)),
        extensions={
            "idempotencykey": key,
            "correlationid": "corr-1",
            "causationid": "cmd-1",
            "traceparent": "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01",
            "attempt": str(data.get("attempt", 1)),
        },
    )


def data_of(message: Message) -> dict[str, Any]:
    """The payload."""
    return orjson.loads(message.data)


@asynccontextmanager
async def running(
    participant: Participant,
    transport: Transport,
    key_store: KeyStore,
    *,
    max_in_flight: int = 2000,
    grace_seconds: float = 10.0,
    now: Callable[[], datetime] = lambda: datetime.now(UTC),
) -> AsyncIterator[ParticipantRunner]:
    """A runner for the duration of the block; on leaving it is stopped and must end by itself."""
    runner = ParticipantRunner(
        participant,
        transport,
        key_store,
        instance="inv-01",
        max_in_flight=max_in_flight,
        grace_seconds=grace_seconds,
        now=now,
    )
    task = asyncio.create_task(runner.run())
    try:
        async with asyncio.timeout(DEADLINE_SECONDS):
            yield runner
            runner.stop()
            await task
    finally:
        task.cancel()

"""What users write, with the types that they may rely on: `make types` checks it with mypy and pyright, strictly."""

from __future__ import annotations

from collections.abc import AsyncGenerator, Generator, Sequence
from typing import Any, assert_type

from conveyor import Client, Participant, Worker
from conveyor.client import BlockingWorkflow
from conveyor.errors import TerminalError
from conveyor.handlers import StepContext
from conveyor.resources import Event, WorkflowPage, WorkflowResource

hotel = Participant("hotel")


@hotel.step("hotel-service", "reserve")
async def reserve(input: dict[str, Any], context: StepContext) -> dict[str, Any]:
    if not input["nights"]:
        raise TerminalError("NO_NIGHTS", "at least one")
    return {"reservationId": context.idempotency_key}


@reserve.compensation("release")
async def release(input: dict[str, Any]) -> None:
    """Nothing to return."""


worker = Worker(hotel)


async def with_asyncio() -> None:
    async with Client("http://127.0.0.1:8080", api_key="id.secret") as client:
        run = await client.start("hotel-booking", {"nights": 2}, labels={"shop": "web"})
        assert_type(run.id, str)
        assert_type(await run.result(timeout=30), dict[str, Any])
        assert_type(await run.get(), WorkflowResource)
        assert_type(await run.history(after_version=3), Sequence[Event])
        assert_type(run.events(), AsyncGenerator[Event, None])
        await run.signal("paid", {"amount": 3}, idempotency_key="paid-1")
        await run.cancel("no", compensate=True)
        assert_type(await client.list(status=["FAILED"], limit=10), WorkflowPage)
        await client.start("hotel-booking", workflow=1)  # type: ignore[call-arg]
        run.pause("spill").close()


def without_asyncio() -> None:
    with Client.over_kafka("localhost:9092", source="/hotel") as client:
        run = client.start("hotel-booking", {"nights": 2}, labels={"shop": "web"})
        assert_type(run, BlockingWorkflow)
        assert_type(run.id, str)
        assert_type(run.result(timeout=30), dict[str, Any])
        assert_type(run.get(), WorkflowResource)
        assert_type(run.history(after_version=3), Sequence[Event])
        assert_type(run.events(), Generator[Event, None, None])
        assert_type(run.pause("spill"), None)
        assert_type(client.workflow("wf-1"), BlockingWorkflow)
        assert_type(client.subscribe(group="shop"), Generator[Event, None, None])
        assert_type(client.list(status=["FAILED"], limit=10), WorkflowPage)
        client.start("hotel-booking", workflow=1)  # type: ignore[call-arg]
        run.result("soon")  # type: ignore[arg-type]

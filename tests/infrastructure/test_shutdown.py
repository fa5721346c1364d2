"""When a process stops, every request that waits is answered at once, and no server that is away holds it up."""

from __future__ import annotations

import asyncio
import socket
from dataclasses import replace
from pathlib import Path

import httpx
import pytest
from conveyor import topics, types
from prometheus_client import CollectorRegistry

from application.ports import Unavailable
from domain.aggregate.position import TopicPartition
from infrastructure.initialise import initialise_embedded
from infrastructure.running import EngineRunner, run_gateway, run_http
from infrastructure.settings import KafkaSection, MongoSection, RedisSection, Settings
from infrastructure.wiring import embedded, production
from tests.adapters.rest.service import WORKFLOWS, serving, start_of
from tests.messages import message_of
from tests.waiting import eventually, until

#: Port 1 of this machine takes no connections.
UNREACHABLE = Settings(
    kafka=KafkaSection(bootstrap_servers="127.0.0.1:1"),
    mongodb=MongoSection(uri="mongodb://127.0.0.1:1"),
    redis=RedisSection(enabled=False),
)
START = message_of(types.START)


async def test_waiting_requests_are_answered_at_the_stop(tmp_path: Path) -> None:
    """With the resource as it is, long before the wait is over."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    async with (
        serving(tmp_path / "stop.db", with_warehouse=False) as service,
        asyncio.TaskGroup() as group,
        httpx.AsyncClient(base_url=f"http://127.0.0.1:{port}", timeout=60) as client,
    ):
        group.create_task(run_gateway(service.gateway, stop))
        group.create_task(run_http(service.app, "127.0.0.1", port, stop))

        async def is_served() -> dict[str, object] | None:
            try:
                return (await client.get("/health/live")).json()
            except httpx.TransportError:
                return None

        await eventually(is_served)
        started = group.create_task(
            client.post(WORKFLOWS, json={"id": "wf-1", **start_of()}, params={"wait": 40})
        )

        async def is_begun() -> dict[str, object] | None:
            found = await service.client.get(f"{WORKFLOWS}/wf-1")
            return found.json() if found.status_code == 200 else None

        await eventually(is_begun)
        asked_at = loop.time()
        stop.set()
        response = await started

    assert loop.time() - asked_at < 5
    assert response.status_code == 201
    assert response.json()["status"] == "EXECUTING"


async def test_nothing_waits_for_kafka_after_the_end() -> None:
    """A thread that waited for an acknowledgement would keep the process alive until Kafka is back."""
    async with production(UNREACHABLE) as backbone:
        publishers = [backbone.publisher, backbone.engine_publisher]
        publishing = [asyncio.create_task(each.publish([START])) for each in publishers]
        done, _ = await asyncio.wait(publishing, timeout=0.5)
        assert not done

    for each in publishing:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(each, 10)
    for each in publishers:
        with pytest.raises(Unavailable):
            await asyncio.wait_for(each.publish([START]), 10)


async def test_an_engine_ends_while_its_messages_are_not_taken(tmp_path: Path) -> None:
    """What it decided is not committed, so the next engine decides or publishes it again."""
    stop = asyncio.Event()
    async with (
        production(UNREACHABLE) as unreachable,
        embedded(tmp_path / "stop.db", Settings()) as mode,
    ):
        await initialise_embedded(mode.backbone, mode.store)
        backbone = replace(
            mode.backbone,
            engine_publisher=unreachable.engine_publisher,
            give_up_publishing=unreachable.give_up_publishing,
        )
        engine = EngineRunner(backbone, Settings(), CollectorRegistry(), drain_seconds=0.1)
        await backbone.publisher.publish([START])
        running = asyncio.create_task(engine.run(stop))

        def has_taken_it() -> bool:
            processor = engine.processor
            lane = TopicPartition(topics.COMMANDS, 0)
            return processor is not None and processor.ports.inbox.handed_out(lane) == 1

        await until(has_taken_it)
        stop.set()
        await asyncio.wait({running}, timeout=10)

        assert running.done()
        assert running.exception() is None

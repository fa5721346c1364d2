"""Timers of a partition that was just assigned."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace
from datetime import timedelta

import pytest
from conveyor import topics, types
from conveyor.messages import Message

from adapters.memory.broker import Topic
from adapters.memory.inbox import MemoryInbox
from application.aggregates.catalog import CATALOG
from application.codec.internal import TIMER_DUE
from application.definitions import compile_definition
from application.engine.environment import ProcessorSettings
from application.engine.processor import Processor
from application.ports import LaneState, Received
from domain.aggregate.position import TopicPartition
from tests.application.installation import GROUP, Installation
from tests.documents import document, step
from tests.waiting import until

DEFINITION = compile_definition(
    document(step("reserve", timeoutMs=50, retry={"maxRetries": 0}), name="order")
)


class MarkedInbox(MemoryInbox):
    """The last offset of the replies holds no message, and the client has not come to the end yet."""

    def __init__(self, installation: Installation) -> None:
        super().__init__(installation.broker, GROUP, member="engine")
        self.has_come_to_the_end = False
        #: How long the engine was ready to wait, call by call.
        self.waits: list[float] = []

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        self.waits.append(wait_seconds)
        await asyncio.sleep(0)
        return await super().take(limit, wait_seconds)

    def handed_out(self, lane: TopicPartition) -> int:
        is_past_it = lane.topic == topics.REPLIES and self.has_come_to_the_end
        return super().handed_out(lane) + is_past_it

    def _lane(self, topic: Topic, partition: int) -> LaneState:
        lane = super()._lane(topic, partition)
        return replace(lane, end=lane.end + 1) if topic.name == topics.REPLIES else lane


@pytest.fixture
async def installation() -> Installation:
    installation = Installation(partitions=1)
    await installation.initialise()
    installation.registered = DEFINITION
    return installation


@pytest.fixture
async def inbox(installation: Installation) -> MarkedInbox:
    return MarkedInbox(installation)


@pytest.fixture
async def engine(installation: Installation, inbox: MarkedInbox) -> AsyncIterator[Processor]:
    ports = replace(installation.ports("engine", installation.log), inbox=inbox)
    settings = ProcessorSettings(projection_interval=timedelta(milliseconds=20))
    processor = Processor(ports, installation._layout, lambda _: 0, CATALOG, settings)
    task = asyncio.ensure_future(processor.run())
    yield processor
    processor.stop()
    await task


async def test_timers_wait_for_what_lay_among_the_replies(
    installation: Installation, inbox: MarkedInbox, engine: Processor
) -> None:
    """Held back, a due timer neither fires nor keeps the engine from waiting; at the end of the replies it fires."""
    clock = engine.ports.clock
    installation.start_workflow("m1")
    await until(lambda: engine.partitions and engine.partitions[0].watchers[0].next_due())
    due = engine.partitions[0].watchers[0].next_due()
    assert due is not None
    await until(lambda: clock.now() > due)

    seen = len(inbox.waits)
    await until(lambda: len(inbox.waits) > seen + 5)
    assert all(inbox.waits[seen + 1 :])
    assert sent(installation) == [types.START]

    inbox.has_come_to_the_end = True
    await until(lambda: installation.is_done(2))
    assert sent(installation)[:2] == [types.START, TIMER_DUE]


def sent(installation: Installation) -> list[str]:
    """Types of the commands in the inbox, timers included."""
    [log] = installation.broker.topic(topics.COMMANDS).logs
    messages = [stored.message for stored in log.read(0, log.end)]
    return [message.type for message in messages if isinstance(message, Message)]

"""Whose requests somebody reads: seen from Kafka's consumer groups."""

from __future__ import annotations

import asyncio

import pytest
from confluent_kafka import Consumer
from conveyor.messages import Record
from conveyor.topics import step_requests

from adapters.kafka.request_readers import KafkaRequestReaders
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import ensure_request_topic
from tests.adapters.kafka.conftest import DEADLINE_SECONDS, Topics

pytestmark = pytest.mark.kafka

SERVICES = ("joined", "served", "hotell", "missing")


def consumer(settings: KafkaSettings, service: str) -> Consumer:
    """A participant of whatever language."""
    group = settings.on_broker(f"participant-{service}")
    made = Consumer(
        {**settings.client(), "group.id": group, "auto.offset.reset": "earliest"},
    )
    made.subscribe([settings.on_broker(step_requests(service))])
    return made


@pytest.fixture
async def topics(settings: KafkaSettings, broker_topics: Topics) -> Topics:
    for service in SERVICES[:3]:
        await ensure_request_topic(settings, service)
    return broker_topics


async def test_members_and_offsets_of_groups_count(settings: KafkaSettings, topics: Topics) -> None:
    """A service counts as read while a member waits, and after one has committed. Its topic may be missing."""
    readers = KafkaRequestReaders(settings)
    assert await readers.ever_read(SERVICES) == frozenset()
    await topics.put(Record(topic=step_requests("served"), key=b"k", value=b"{}", headers=()))

    served = consumer(settings, "served")
    taken = await asyncio.to_thread(served.poll, DEADLINE_SECONDS)
    assert taken is not None
    await asyncio.to_thread(served.commit, asynchronous=False)
    await asyncio.to_thread(served.close)
    joined = consumer(settings, "joined")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not joined.assignment():
            await asyncio.to_thread(joined.poll, 0.1)

    assert await readers.ever_read(SERVICES) == {"joined", "served"}
    await asyncio.to_thread(joined.close)
    assert await readers.ever_read(["joined", "hotell"]) == {"joined"}

"""Whose requests somebody reads: seen from Kafka's consumer groups."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place
from conveyor.messages import Record
from conveyor.topics import step_requests

from adapters.kafka.cluster import Cluster
from adapters.kafka.request_readers import KafkaRequestReaders
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import ensure_request_topic
from application.ports import ReadServices, Unavailable
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
    assert await readers.ever_read(SERVICES) == ReadServices(frozenset())
    await commit(settings, topics, "served")
    joined = consumer(settings, "joined")
    async with asyncio.timeout(DEADLINE_SECONDS):
        while not joined.assignment():
            await asyncio.to_thread(joined.poll, 0.1)

    assert await readers.ever_read(SERVICES) == ReadServices(frozenset({"joined", "served"}))
    await asyncio.to_thread(joined.close)
    assert await readers.ever_read(["joined", "hotell"]) == ReadServices(frozenset({"joined"}))


class Undescribed(Cluster):
    """The broker does not describe one group."""

    group = ""

    def assigned_topics(self, groups: Sequence[str]) -> dict[str, set[str] | Unavailable]:
        found = super().assigned_topics(groups)
        return {**found, self.group: Unavailable("kafka", "its coordinator is loading")}


class Uncommitted(Cluster):
    """The broker does not say what one group has committed."""

    group = ""

    def committed(self, group: str, places: Sequence[Place]) -> dict[tuple[str, int], int | None]:
        if group == self.group:
            raise Unavailable("kafka", "its coordinator is loading")
        return super().committed(group, places)


@pytest.mark.parametrize("kind", [Undescribed, Uncommitted])
async def test_a_group_that_cannot_be_looked_at_costs_itself(
    settings: KafkaSettings, topics: Topics, kind: type[Undescribed | Uncommitted]
) -> None:
    """Services that others read are known to be read, and it is said why the rest is not known."""
    await commit(settings, topics, "served")
    await commit(settings, topics, "joined")
    cluster = kind(settings)
    cluster.group = settings.on_broker("participant-joined")

    found = await KafkaRequestReaders(settings, cluster).ever_read(SERVICES)

    assert found.names == {"served"}
    assert found.doubt == (
        f"what the group {cluster.group} reads is not known: its coordinator is loading"
    )


async def test_a_group_that_has_ended_reads_nothing(settings: KafkaSettings) -> None:
    """It may end between the list of groups and the question about it."""
    gone = settings.on_broker("participant-gone")

    found = await asyncio.to_thread(Cluster(settings).assigned_topics, [gone])

    assert found == {gone: set()}


async def commit(settings: KafkaSettings, topics: Topics, service: str) -> None:
    """Read a request as a participant of the service, commit it and leave."""
    await topics.put(Record(topic=step_requests(service), key=b"k", value=b"{}", headers=()))
    reader = consumer(settings, service)
    taken = await asyncio.to_thread(reader.poll, DEADLINE_SECONDS)
    assert taken is not None
    await asyncio.to_thread(reader.commit, asynchronous=False)
    await asyncio.to_thread(reader.close)

"""Topics and a group of its own for every test, on the broker that all tests share."""

from __future__ import annotations

import asyncio
import time
import uuid
from collections.abc import AsyncIterator, Sequence

import pytest
from confluent_kafka import Consumer, Producer, TopicPartition
from confluent_kafka.admin import AdminClient
from conveyor.messages import Record

from adapters.kafka.cluster import Cluster
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import init_topics

PARTITIONS = 4
DEADLINE_SECONDS = 30.0


class Topics:
    """The broker seen without the adapters: raw records in and out, names without the prefix."""

    def __init__(self, settings: KafkaSettings) -> None:
        self.settings = settings
        self._producer = Producer({**settings.client(), "partitioner": "murmur2_random"})

    async def put(self, *records: Record) -> None:
        for record in records:
            self._producer.produce(
                self.settings.on_broker(record.topic),
                record.value,
                record.key,
                -1 if record.partition is None else record.partition,
                headers=list(record.headers),
            )
        left = await asyncio.to_thread(self._producer.flush, DEADLINE_SECONDS)
        assert left == 0

    async def written(self, topic: str, count: int) -> Sequence[Record]:
        return await asyncio.to_thread(self._read, topic, count)

    async def ends(self, topic: str) -> dict[int, int]:
        """The end of every partition."""
        name = self.settings.on_broker(topic)
        cluster = Cluster(self.settings)

        def ask() -> dict[int, int]:
            layout = cluster.layouts([name])[name]
            places = [TopicPartition(name, p) for p in range(layout.partitions)]
            return {place[1]: end for place, end in cluster.ends(places).items()}

        return await asyncio.to_thread(ask)

    def _read(self, topic: str, count: int) -> Sequence[Record]:
        name = self.settings.on_broker(topic)
        consumer = Consumer({**self.settings.client(), "group.id": "reader"})
        partitions = consumer.list_topics(name, timeout=DEADLINE_SECONDS).topics[name].partitions
        consumer.assign([TopicPartition(name, partition, 0) for partition in partitions])
        records: list[Record] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while len(records) < count and time.monotonic() < deadline:
            for message in consumer.consume(count, 0.2):
                assert message.error() is None
                records.append(
                    Record(
                        topic=topic,
                        key=message.key(),
                        value=message.value(),
                        headers=tuple(message.headers() or ()),  # type: ignore[arg-type]
                        partition=message.partition(),
                    )
                )
        consumer.close()
        assert len(records) == count
        return records


def unique_settings(bootstrap: str, **changes: object) -> KafkaSettings:
    """Topics and a group that no other test has; sessions end as fast as the broker allows."""
    name = uuid.uuid4().hex[:8]
    return KafkaSettings(
        **{
            "bootstrap_servers": bootstrap,
            "topic_prefix": f"{name}-",
            "group_id": f"engine-{name}",
            "session_timeout_ms": 6_000,
            **changes,
        }  # type: ignore[arg-type]
    )


@pytest.fixture
async def settings(kafka_bootstrap: str) -> AsyncIterator[KafkaSettings]:
    """The topics of the contract, four partitions each; they are deleted in the end."""
    settings = unique_settings(kafka_bootstrap)
    created = await init_topics(settings, partitions=PARTITIONS)
    yield settings
    delete_topics(settings, list(created))


def delete_topics(settings: KafkaSettings, names: Sequence[str]) -> None:
    client = AdminClient(settings.client())
    for answer in client.delete_topics([settings.on_broker(name) for name in names]).values():
        answer.result()


@pytest.fixture
async def broker_topics(settings: KafkaSettings) -> Topics:
    return Topics(settings)

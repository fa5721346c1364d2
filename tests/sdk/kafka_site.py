"""Topics of a test's own on the shared broker, with a way to write to them and to read them."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Sequence
from contextlib import asynccontextmanager
from uuid import uuid4

from confluent_kafka import Consumer, ConsumerGroupTopicPartitions, TopicPartition
from confluent_kafka.admin import AdminClient
from confluent_kafka.admin._config import AlterConfigOpType, ConfigEntry, ConfigResource
from confluent_kafka.admin._resource import ResourceType
from confluent_kafka.cimpl import NewTopic
from conveyor import topics
from conveyor.cloudevents import decode
from conveyor.kafka import GROUP_PREFIX, KafkaTransport
from conveyor.kafka_records import read
from conveyor.kafka_writer import KafkaWriter
from conveyor.messages import Message, Record

DEADLINE_SECONDS = 30.0


class KafkaSite:
    """One prefix."""

    def __init__(self, bootstrap: str, services: Sequence[str], partitions: int) -> None:
        self.bootstrap = bootstrap
        self.prefix = f"sdk-{uuid4().hex[:8]}."
        self.partitions = partitions
        self._admin = AdminClient({"bootstrap.servers": bootstrap})
        self._writer = KafkaWriter(bootstrap, {}, self.prefix)
        names = [topics.step_requests(service) for service in services]
        names += [topics.REPLIES, topics.DEAD_LETTER, topics.COMMANDS, topics.EVENTS]
        created = self._admin.create_topics(
            [NewTopic(self.prefix + name, partitions, 1) for name in names]
        )
        for future in created.values():
            future.result(DEADLINE_SECONDS)

    async def limit(self, topic: str, max_message_bytes: int) -> None:
        """Change what a topic takes, as an operator may, and wait until the broker acts by it."""
        entry = ConfigEntry(
            "max.message.bytes",
            str(max_message_bytes),
            incremental_operation=AlterConfigOpType.SET,
        )
        resource = ConfigResource(
            ResourceType.TOPIC, self.prefix + topic, incremental_configs=[entry]
        )
        [altered] = self._admin.incremental_alter_configs([resource]).values()
        await asyncio.to_thread(altered.result, DEADLINE_SECONDS)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while await self._max_message_bytes(resource) != str(max_message_bytes):
                pass

    async def _max_message_bytes(self, resource: ConfigResource) -> str | None:
        [described] = self._admin.describe_configs([resource]).values()
        found: dict[str, ConfigEntry] = await asyncio.to_thread(described.result, DEADLINE_SECONDS)
        return found["max.message.bytes"].value

    async def delete(self, topic: str) -> None:
        """Delete a topic, and wait until the broker no longer knows it."""
        name = self.prefix + topic
        [deleted] = self._admin.delete_topics([name]).values()
        await asyncio.to_thread(deleted.result, DEADLINE_SECONDS)
        async with asyncio.timeout(DEADLINE_SECONDS):
            while (await asyncio.to_thread(self._admin.list_topics, timeout=5)).topics.get(name):
                pass

    def transport(self, on_joined: Callable[[], None] | None = None) -> KafkaTransport:
        return KafkaTransport(
            self.bootstrap,
            topic_prefix=self.prefix,
            session_timeout_ms=6_000,
            on_joined=on_joined,
        )

    async def write(self, *messages: Message | Record) -> None:
        await self._writer.write(messages)

    def reader(self, topic: str) -> TopicReader:
        return TopicReader(self.bootstrap, self.prefix, topic, self.partitions)

    def committed(self, participant: str, topic: str) -> dict[int, int]:
        """The group's committed offset per partition."""
        group = self.prefix + GROUP_PREFIX + participant
        places = [TopicPartition(self.prefix + topic, p) for p in range(self.partitions)]
        request = ConsumerGroupTopicPartitions(group, places)
        answer = self._admin.list_consumer_group_offsets([request])[group]
        found = answer.result(DEADLINE_SECONDS).topic_partitions
        return {place.partition: place.offset for place in found}

    async def close(self) -> None:
        await self._writer.close()


class TopicReader:
    """Reads one topic from its beginning."""

    def __init__(self, bootstrap: str, prefix: str, topic: str, partitions: int) -> None:
        self._topic = topic
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
        )
        self._consumer.assign([TopicPartition(prefix + topic, p, 0) for p in range(partitions)])

    async def records(self, count: int) -> list[Record]:
        """The next records, as soon as there are that many."""
        found: list[Record] = []
        async with asyncio.timeout(DEADLINE_SECONDS):
            while len(found) < count:
                received = await asyncio.to_thread(self._consumer.poll, 0.2)
                if received is not None and received.error() is None:
                    found.append(read(received, self._topic)[0])
        return found

    async def messages(self, count: int) -> list[Message]:
        """As `records`, decoded."""
        return [decode(record) for record in await self.records(count)]

    def close(self) -> None:
        self._consumer.close()


@asynccontextmanager
async def kafka_site(
    bootstrap: str, services: Sequence[str] = ("inventory-service",), partitions: int = 3
) -> AsyncIterator[KafkaSite]:
    """A site, closed in the end."""
    site = await asyncio.to_thread(KafkaSite, bootstrap, services, partitions)
    try:
        yield site
    finally:
        await site.close()

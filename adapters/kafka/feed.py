"""The workflow events as they are published, for all waiters in this process."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import TypeAlias

import structlog
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place
from conveyor.kafka_records import read
from conveyor.messages import MalformedEvent, Message

from adapters.kafka.cluster import Cluster
from adapters.kafka.errors import TopicMismatchError
from adapters.kafka.settings import CLIENT_LOG, KafkaSettings
from application.ports import Unavailable

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_BATCH = 1_000
_WAIT_SECONDS = 0.5
#: A follower that is this many messages behind is dropped, before it fills the memory.
_MAX_BEHIND = 100_000

_Delivery: TypeAlias = "Sequence[Message] | BaseException | None"


class KafkaEventFeed:
    """`EventFeed` on Kafka: one consumer on all partitions, without a group, for all followers.

    A follower misses nothing that is published after its first step began, and may also see what was in flight at that
    moment. While the broker is away, nothing arrives.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._followers: set[_Follower] = set()
        self._starting = asyncio.Lock()
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-feed")
        self._consumer: Consumer | None = None
        self._pump: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Begin at the ends of all partitions. The first follower does this if it was not done before.

        Raises `Unavailable`, `TopicMismatchError`.
        """
        async with self._starting:
            if self._pump is None:
                loop = asyncio.get_running_loop()
                consumer = await loop.run_in_executor(self._thread, self._open)
                self._consumer = consumer
                self._pump = asyncio.create_task(self._deliver(consumer), name="kafka-feed")
                self._pump.add_done_callback(self._ended)

    async def follow(self) -> AsyncIterator[Message]:
        """The first step raises what `start` raises. A later one raises `Unavailable` if it is too far behind."""
        follower = _Follower()
        self._followers.add(follower)
        try:
            await self.start()
            while (messages := await follower.next()) is not None:
                for message in messages:
                    yield message
        finally:
            self._followers.discard(follower)

    async def close(self) -> None:
        """Followers end as if there were no more events."""
        if self._pump is not None:
            self._pump.cancel()
            await asyncio.wait([self._pump])
        if self._consumer is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._consumer.close)
        self._thread.shutdown()

    def _open(self) -> Consumer:
        topic = self._settings.on_broker(self._settings.events_topic)
        cluster = Cluster(self._settings)
        layout = cluster.layouts([topic]).get(topic)
        if layout is None:
            raise TopicMismatchError(f"no topic {topic}; run `conveyor init` first")
        ends = cluster.ends([Place(topic, partition) for partition in range(layout.partitions)])
        consumer = Consumer(
            {
                # The client requires a name; without a subscription or commit it creates no group.
                "group.id": f"{self._settings.group_id}-feed",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                **self._settings.client(),
            },
            logger=CLIENT_LOG,
        )
        consumer.assign([Place(name, partition, end) for (name, partition), end in ends.items()])
        return consumer

    async def _deliver(self, consumer: Consumer) -> None:
        loop = asyncio.get_running_loop()
        while True:
            messages = await loop.run_in_executor(self._thread, self._read, consumer)
            if messages:
                for follower in self._followers:
                    follower.put(messages)

    def _read(self, consumer: Consumer) -> list[Message]:
        batch = consumer.consume(1, _WAIT_SECONDS)
        if batch:
            batch += consumer.consume(_BATCH, 0)
        if not self._followers:
            return []
        messages: list[Message] = []
        for each in batch:
            error = each.error()
            if error is not None:
                log.warning("feed error", action="feed.error", detail=error.str())
                continue
            _, message = read(each, self._settings.events_topic)
            if isinstance(message, MalformedEvent):
                log.warning("malformed event", action="feed.malformed", detail=message.detail)
            else:
                messages.append(message)
        return messages

    def _ended(self, pump: asyncio.Task[None]) -> None:
        failure = None if pump.cancelled() else pump.exception()
        for follower in self._followers:
            follower.end(failure)


class _Follower:
    """The messages that were read and that one follower has not seen yet."""

    def __init__(self) -> None:
        self._deliveries: asyncio.Queue[_Delivery] = asyncio.Queue()
        self._behind = 0

    def put(self, messages: Sequence[Message]) -> None:
        if self._behind > _MAX_BEHIND:
            return
        self._behind += len(messages)
        if self._behind > _MAX_BEHIND:
            self.end(Unavailable("kafka", f"follower is {self._behind} events behind"))
        else:
            self._deliveries.put_nowait(messages)

    def end(self, failure: BaseException | None) -> None:
        self._deliveries.put_nowait(failure)

    async def next(self) -> Sequence[Message] | None:
        """The next messages, None at the end."""
        delivery = await self._deliveries.get()
        if isinstance(delivery, BaseException):
            raise delivery
        if delivery is not None:
            self._behind -= len(delivery)
        return delivery

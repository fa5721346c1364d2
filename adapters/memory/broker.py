"""A message broker in one process: topics of partitions, and consumer groups.

It has what the application relies on in Kafka: an offset and a leader epoch per record, a new topic id for a
recreated topic, and partitions chosen by `murmur2_random`. Not thread-safe.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from datetime import UTC, datetime

from conveyor.cloudevents import decode, encode
from conveyor.messages import MalformedEvent, Message, Record

from adapters.memory.group import Group
from adapters.partitioner import partition_for


def _utc_now() -> datetime:
    return datetime.now(UTC)


class Bell:
    """Wakes the one reader that waits for it."""

    def __init__(self) -> None:
        self._waiter: asyncio.Future[None] | None = None

    def ring(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    async def wait(self, seconds: float | None) -> None:
        """Wait until the next ring, at most this long."""
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self.ring) if seconds is not None else None
        try:
            await self._waiter
        finally:
            if timer is not None:
                timer.cancel()
            self._waiter = None


class Stored:
    """A record and its place."""

    __slots__ = ("_message", "leader_epoch", "offset", "record", "timestamp")

    def __init__(self, offset: int, leader_epoch: int, timestamp: datetime, record: Record) -> None:
        self.offset = offset
        self.leader_epoch = leader_epoch
        self.timestamp = timestamp
        self.record = record
        self._message: Message | MalformedEvent | None = None

    @property
    def message(self) -> Message | MalformedEvent:
        """The decoded record; decoded once, however often it is delivered."""
        if self._message is None:
            try:
                self._message = decode(self.record)
            except MalformedEvent as fault:
                self._message = fault
        return self._message


class Log:
    """One partition of a topic."""

    def __init__(self) -> None:
        self.leader_epoch = 0
        self._records: list[Stored] = []

    @property
    def end(self) -> int:
        """The offset after the last record."""
        return len(self._records)

    def append(self, record: Record, timestamp: datetime) -> None:
        self._records.append(Stored(self.end, self.leader_epoch, timestamp, record))

    def read(self, offset: int, limit: int) -> Sequence[Stored]:
        """At most `limit` records from this offset on."""
        return self._records[offset : offset + limit]

    def elect(self, end: int) -> None:
        """Elect a new leader whose log ends here: later records are lost (an unclean election)."""
        del self._records[end:]
        self.leader_epoch += 1


class Topic:
    """A topic, its identity and its readers."""

    def __init__(self, name: str, topic_id: str, partitions: int) -> None:
        self.name = name
        self.id = topic_id
        self.logs = tuple(Log() for _ in range(partitions))
        #: In order of arrival.
        self.bells: list[Bell] = []
        self._next_without_key = 0

    def partition_of(self, key: bytes | None) -> int:
        """By the key; records without a key go to the partitions in turn."""
        if key is not None:
            return partition_for(key, len(self.logs))
        self._next_without_key += 1
        return self._next_without_key % len(self.logs)


class MemoryBroker:
    """Topics are created when they are first named, with `partitions` partitions each."""

    def __init__(self, *, partitions: int = 1, now: Callable[[], datetime] = _utc_now) -> None:
        self.partitions = partitions
        self._now = now
        self._topics: dict[str, Topic] = {}
        self._groups: dict[str, Group] = {}
        self._created = 0

    def topic(self, name: str) -> Topic:
        found = self._topics.get(name)
        return found if found is not None else self._create(name)

    def recreate(self, name: str) -> Topic:
        """Delete the topic and create it again: empty, with another id. Readers must open it again."""
        return self._create(name)

    def _create(self, name: str) -> Topic:
        self._created += 1
        topic = Topic(name, f"{name}#{self._created}", self.partitions)
        self._topics[name] = topic
        return topic

    def append(self, message: Message | Record) -> None:
        """Write one record; it is visible at once."""
        record = encode(message) if isinstance(message, Message) else message
        topic = self.topic(record.topic)
        partition = record.partition
        if partition is None:
            partition = topic.partition_of(record.key)
        topic.logs[partition].append(_placed(record, partition), self._now())
        for bell in topic.bells:
            bell.ring()

    def group(self, name: str) -> Group:
        """The consumer group of this name."""
        return self._groups.setdefault(name, Group(self.partitions))


def _placed(record: Record, partition: int) -> Record:
    return Record(
        topic=record.topic,
        key=record.key,
        value=record.value,
        headers=record.headers,
        partition=partition,
    )

"""Topics in memory: the recent tail of each and those who read it.

A consumer that keeps up gets the very objects that were published, without a query and without
decoding. A tail holds what some consumer has yet to read, within a limit; a consumer that fell
behind the limit reads from the table until it has caught up.

A topic that is read *ahead* shows its records when they are handed to the writer, before they are
on disk; `store.py` says why that is right for the engine's inbox.
"""

from __future__ import annotations

import asyncio
from bisect import bisect_right
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import replace
from typing import NamedTuple, Protocol

from adapters.sqlite.batches import Batch

#: Bytes of records that one topic's tail may hold.
TAIL_BYTES = 32 * 1024 * 1024


class Reader(Protocol):
    """A reader of topics that is woken by new records."""

    def wake(self, topic: Topic) -> None:
        """The topic has more."""
        ...

    def position(self, topic: Topic) -> int: ...


class Topic:
    """A topic of one partition: its number, its identity and its tail."""

    def __init__(
        self,
        number: int,
        name: str,
        topic_id: str,
        end: int,
        tail_bytes: int = TAIL_BYTES,
        *,
        is_ahead: bool = False,
    ) -> None:
        self.number = number
        self.name = name
        self.id = topic_id
        self.is_ahead = is_ahead
        #: The offset after the last record that readers see.
        self.end = end
        #: The offset after the last record on disk.
        self.written = end
        #: The offset of the first record in memory.
        self.tail_start = end
        self.readers: list[Reader] = []
        self._tail: list[Batch] = []
        self._size = 0
        self._limit = tail_bytes

    def show_ahead(self, batch: Batch) -> None:
        """Give the batch its place and show it: its write is about to begin."""
        batch.first = self.end
        batch.end = batch.first + len(batch.records)
        self._show(batch)

    def wrote(self, batch: Batch) -> None:
        """The batch is on disk."""
        self.written = batch.end
        if not self.is_ahead:
            self._show(batch)
        self._forget()

    def take_back(self) -> None:
        """What was shown and is not on disk never will be."""
        while self._tail and self._tail[-1].end > self.written:
            self._size -= self._tail.pop().size
        self.end = self.written
        self._wake()

    def _show(self, batch: Batch) -> None:
        self.end = batch.end
        self._tail.append(batch)
        self._size += batch.size
        self._wake()

    def _wake(self) -> None:
        for reader in self.readers:
            reader.wake(self)

    def read(self, offset: int, limit: int) -> Sequence[Batch]:
        """At most `limit` records from this offset on, which lies in the tail, or behind it after a `take_back`."""
        batches: list[Batch] = []
        if offset >= self.end:
            return batches
        index = bisect_right(self._tail, offset, key=_first) - 1
        while limit > 0 and index < len(self._tail):
            batch = part(self._tail[index], offset, limit)
            batches.append(batch)
            offset = batch.end
            limit -= len(batch.records)
            index += 1
        return batches

    def _forget(self) -> None:
        """Drop what every reader has, and the oldest beyond the limit, of what can be read from the table."""
        needed = self.written
        for reader in self.readers:
            needed = min(needed, reader.position(self))
        count = 0
        for batch in self._tail:
            if batch.end > needed and (self._size <= self._limit or batch.end > self.written):
                break
            self._size -= batch.size
            count += 1
        if count:
            self.tail_start = self._tail[count - 1].end
            del self._tail[:count]


def _first(batch: Batch) -> int:
    return batch.first


def part(batch: Batch, offset: int, limit: int) -> Batch:
    """At most `limit` records of the batch, from this offset on."""
    start = offset - batch.first
    if start == 0 and len(batch.records) <= limit:
        return batch
    records = batch.records[start : start + limit]
    return replace(batch, first=offset, end=offset + len(records), records=records)


class Taken(NamedTuple):
    """Records that a consumer took from one topic, in order."""

    topic: Topic
    batches: Sequence[Batch]


class Consumer:
    """Reads some topics from given offsets on."""

    def __init__(
        self,
        starts: Mapping[Topic, int],
        read_table: Callable[[Topic, int, int], Awaitable[Sequence[Batch]]],
    ) -> None:
        self._positions: dict[Topic, int] = {}
        #: Topics with records that were not taken.
        self._ready: dict[Topic, None] = {}
        self._read_table = read_table
        self._waiter: asyncio.Future[None] | None = None
        for topic, start in starts.items():
            self.join(topic, start)

    def join(self, topic: Topic, start: int) -> None:
        """Read this topic too."""
        self._positions[topic] = start
        topic.readers.append(self)
        if start < topic.end:
            self.wake(topic)

    def leave(self, topic: Topic) -> None:
        """Take nothing more from this topic."""
        topic.readers.remove(self)
        del self._positions[topic]
        self._ready.pop(topic, None)

    def position(self, topic: Topic) -> int:
        """The offset of the next record that will be taken."""
        return self._positions[topic]

    def seek(self, topic: Topic, offset: int) -> None:
        self._positions[topic] = offset
        self._ready[topic] = None

    def wake(self, topic: Topic) -> None:
        self._ready[topic] = None
        self._go_on()

    def _go_on(self) -> None:
        if self._waiter is not None and not self._waiter.done():
            self._waiter.set_result(None)

    def close(self) -> None:
        for topic in self._positions:
            topic.readers.remove(self)

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        """At most `limit` records, shared out between the topics; waits for the first one only."""
        taken = await self._take(limit)
        if taken or wait_seconds <= 0:
            return taken
        await self._wait(wait_seconds)
        return await self._take(limit)

    async def _take(self, limit: int) -> Sequence[Taken]:
        ready = list(self._ready)
        taken: list[Taken] = []
        for index, topic in enumerate(ready):
            share = -(-limit // (len(ready) - index))
            batches = await self._read(topic, share)
            limit -= sum(len(batch.records) for batch in batches)
            if batches:
                taken.append(Taken(topic, batches))
        # Only now: a take that was cancelled has taken nothing. A topic may have been left meanwhile.
        taken = [each for each in taken if each.topic in self._positions]
        for topic, batches in taken:
            self._positions[topic] = batches[-1].end
        for topic in ready:
            if topic in self._positions and self._positions[topic] >= topic.end:
                del self._ready[topic]
        return taken

    async def _read(self, topic: Topic, limit: int) -> Sequence[Batch]:
        position = self._positions[topic]
        if position >= topic.tail_start:
            return topic.read(position, limit)
        return await self._read_table(topic, position, limit)

    async def _wait(self, seconds: float) -> None:
        if self._ready:
            return
        loop = asyncio.get_running_loop()
        self._waiter = loop.create_future()
        timer = loop.call_later(seconds, self._go_on)
        try:
            await self._waiter
        finally:
            timer.cancel()
            self._waiter = None

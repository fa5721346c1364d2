"""The two inbox topics of a memory broker, read by one member of a group."""

from __future__ import annotations

import asyncio
import itertools
from collections.abc import Mapping, Sequence

from conveyor.topics import COMMANDS, REPLIES

from adapters.memory.broker import Bell, MemoryBroker, Topic
from application.ports import InboxListener, LaneState, Received
from domain.aggregate.position import Position, TopicPartition

_numbers = itertools.count(1)


class MemoryInbox:
    """`Inbox` on a `MemoryBroker`; `member` is its name in the group."""

    def __init__(
        self,
        broker: MemoryBroker,
        group: str = "conveyor-engines",
        *,
        member: str | None = None,
        topics: Sequence[str] = (COMMANDS, REPLIES),
    ) -> None:
        self._broker = broker
        self._group = broker.group(group)
        self._member = member or f"member-{next(_numbers)}"
        self._names = tuple(topics)
        self._topics: dict[str, Topic] = {}
        self._bell = Bell()
        self._listener: InboxListener | None = None
        #: Where to read next in each lane of an open partition.
        self._next: dict[TopicPartition, int] = {}
        #: Partitions that are held but not read, and why.
        self._stopped: dict[int, str] = {}
        #: Incremented when the group expelled this member; its earlier commits are then too late.
        self.generation = 0
        #: The lane that is read first. It rotates, so that no lane starves the others.
        self._turn = 0

    @property
    def problem(self) -> str | None:
        """None: it is available as long as this process is."""
        return None

    @property
    def stopped(self) -> Mapping[int, str]:
        return dict(self._stopped)

    async def start(self, listener: InboxListener) -> None:
        self._listener = listener
        self._topics = {name: self._broker.topic(name) for name in self._names}
        for topic in self._topics.values():
            topic.bells.append(self._bell)
        self._group.join(self._member, self._bell.ring)

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        loop = asyncio.get_running_loop()
        deadline = loop.time() + wait_seconds
        while True:
            await self._follow_group()
            taken = self._fetch(limit)
            remaining = deadline - loop.time()
            if taken or remaining <= 0:
                return taken
            await self._bell.wait(remaining)

    def handed_out(self, lane: TopicPartition) -> int:
        return self._next.get(lane, 0)

    @property
    def lag(self) -> int:
        return sum(
            self._topics[place.topic].logs[place.partition].end - offset
            for place, offset in self._next.items()
        )

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        self._group.commit(self._member, next_offsets)

    async def restart(self, partitions: Sequence[int]) -> None:
        """A partition that the group took away is left out."""
        for partition in partitions:
            self._stopped.pop(partition, None)
        await self._lose(self._open() & set(partitions))
        await self._follow_group()

    async def close(self) -> None:
        listener, self._listener = self._listener, None
        if listener is None:
            return
        leaving = sorted(self._open() & self._group.held(self._member))
        if leaving:
            await listener.revoked(leaving)
        self._next.clear()
        self._group.expel(self._member)
        for topic in self._topics.values():
            topic.bells.remove(self._bell)

    # -- the group -------------------------------------------------------------------------------

    def _open(self) -> set[int]:
        return {place.partition for place in self._next}

    def _told(self) -> InboxListener:
        if self._listener is None:
            raise RuntimeError("the inbox is not started, or closed")
        return self._listener

    async def _follow_group(self) -> None:
        """Release what the group wants back, and begin what it assigns; both after an expulsion."""
        group, member = self._group, self._member
        if not group.has(member):
            await self._lose(self._open())
            self._stopped.clear()
            self.generation += 1
            group.join(member, self._bell.ring)
        leaving = group.held(member) - group.wanted(member)
        if leaving:
            await self._give_up(leaving)
        if not group.has(member):
            return  # Expelled meanwhile; the next call handles it.
        group.claim(member)
        waiting = group.held(member) - self._open() - self._stopped.keys()
        if waiting:
            await self._begin(sorted(waiting))

    async def _lose(self, partitions: set[int]) -> None:
        if partitions:
            self._forget(partitions)
            await self._told().lost(sorted(partitions))

    async def _give_up(self, partitions: set[int]) -> None:
        told = sorted(partitions & self._open())
        self._forget(partitions)
        for partition in partitions:
            self._stopped.pop(partition, None)
        if told:
            await self._told().revoked(told)
        self._group.release(self._member, sorted(partitions))

    async def _begin(self, partitions: Sequence[int]) -> None:
        """If the listener cannot answer now, the partitions wait, and the next call asks again."""
        lanes = [
            self._lane(topic, partition)
            for partition in partitions
            for topic in self._topics.values()
        ]
        assigned = await self._told().assigned(lanes)
        self._next.update(assigned.starts)
        self._stopped.update(assigned.stopped)

    def _forget(self, partitions: set[int]) -> None:
        self._next = {p: at for p, at in self._next.items() if p.partition not in partitions}

    def _lane(self, topic: Topic, partition: int) -> LaneState:
        return LaneState(
            topic=topic.name,
            partition=partition,
            topic_id=topic.id,
            committed=self._group.committed.get(TopicPartition(topic.name, partition)),
            end=topic.logs[partition].end,
        )

    # -- reading ---------------------------------------------------------------------------------

    def _fetch(self, limit: int) -> list[Received]:
        """At most `limit` records, divided among the lanes that have any."""
        ready = [
            place
            for place, offset in self._next.items()
            if offset < self._topics[place.topic].logs[place.partition].end
        ]
        self._turn += 1
        turn = self._turn % len(ready) if ready else 0
        received: list[Received] = []
        for index, place in enumerate((*ready[turn:], *ready[:turn])):
            share = -(-(limit - len(received)) // (len(ready) - index))
            received.extend(self._read(place, share))
        return received

    def _read(self, place: TopicPartition, limit: int) -> list[Received]:
        topic = self._topics[place.topic]
        stored = topic.logs[place.partition].read(self._next[place], limit)
        self._next[place] += len(stored)
        return [
            Received(
                Position(topic.id, topic.name, place.partition, each.leader_epoch, each.offset),
                each.record,
                each.timestamp,
                each.message,
            )
            for each in stored
        ]

"""The inbox of the embedded mode: two topics of one partition, always held by this process."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence

from conveyor.topics import COMMANDS, REPLIES

from adapters.sqlite.batches import as_message
from adapters.sqlite.event_log import EngineSession
from adapters.sqlite.projections import ENGINE, load_offsets, save_offsets
from adapters.sqlite.topics import Consumer, Taken, Topic
from application.ports import InboxListener, InboxStart, LaneState, Received
from domain.aggregate.position import Position, TopicPartition


class SqliteInbox:
    """`Inbox` on the embedded topics: partition 0 of both is assigned on the first `take`."""

    def __init__(self, session: EngineSession, topics: Sequence[str] = (COMMANDS, REPLIES)) -> None:
        self._session = session
        self._store = session.store
        self._names = topics
        self._listener: InboxListener | None = None
        self._consumer: Consumer | None = None
        #: The only partition, if it cannot be read, with the reason.
        self._stopped: Mapping[int, str] = {}

    @property
    def problem(self) -> str | None:
        """None: it is available as long as this process is."""
        return None

    @property
    def stopped(self) -> Mapping[int, str]:
        return self._stopped

    async def start(self, listener: InboxListener) -> None:
        self._listener = listener

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        consumer = self._consumer or await self._assign()
        if consumer is None:
            await asyncio.sleep(wait_seconds)
            return ()
        received: list[Received] = []
        for taken in await consumer.take(limit, wait_seconds):
            received.extend(_received(taken))
        self._session.require_running()
        return received

    def handed_out(self, lane: TopicPartition) -> int:
        consumer = self._consumer
        return consumer.position(self._store.topics[lane.topic]) if consumer is not None else 0

    @property
    def lag(self) -> int:
        consumer = self._consumer
        if consumer is None:
            return 0
        topics = [self._store.topics[name] for name in self._names]
        return sum(max(0, topic.end - consumer.position(topic)) for topic in topics)

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        starts = [
            InboxStart(lane.topic, lane.partition, self._store.topics[lane.topic].id, offset)
            for lane, offset in next_offsets.items()
        ]
        if starts:
            await self._store.write([save_offsets(ENGINE, starts)])

    async def restart(self, partitions: Sequence[int]) -> None:
        if 0 in partitions and self._listener is not None:
            self._leave()
            await self._listener.lost([0])
            self._stopped = {}
            await self._assign()

    async def close(self) -> None:
        if self._listener is not None and self._consumer is not None:
            await self._listener.revoked([0])
        self._leave()
        # Participants and API may run longer than the engine, to finish their work.
        self._session.restart()

    async def _assign(self) -> Consumer | None:
        """None while the partition is stopped."""
        if self._listener is None:
            raise RuntimeError("the inbox was not started")
        if self._stopped:
            return None
        self._session.restart()
        topics = [await self._store.topic(name) for name in self._names]
        committed = {start.topic: start for start in await load_offsets(self._store, ENGINE)}
        assigned = await self._listener.assigned(
            [_lane(topic, committed.get(topic.name)) for topic in topics]
        )
        self._stopped = assigned.stopped
        if self._stopped:
            return None
        starts = assigned.starts
        self._consumer = self._store.consumer(
            {topic: starts[TopicPartition(topic.name, 0)] for topic in topics}
        )
        return self._consumer

    def _leave(self) -> None:
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None


def _lane(topic: Topic, start: InboxStart | None) -> LaneState:
    known = start is not None and start.topic_id == topic.id
    return LaneState(
        topic=topic.name,
        partition=0,
        topic_id=topic.id,
        committed=start.offset if start is not None and known else None,
        end=topic.written,
    )


def _received(taken: Taken) -> list[Received]:
    topic_id, name = taken.topic.id, taken.topic.name
    received: list[Received] = []
    for batch in taken.batches:
        at = batch.at
        for offset, stored in enumerate(batch.records, batch.first):
            position = Position(topic_id, name, 0, 0, offset)
            received.append(Received(position, stored, at, as_message(stored)))
    return received

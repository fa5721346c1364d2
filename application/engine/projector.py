"""Write-behind: projections, hot state and committed offsets follow the decisions (PROTOCOL rule 12).

Offsets are committed last. After a crash before that, the next owner only repeats work.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta

from application.engine.environment import Health, Ports, ProcessorSettings
from application.engine.held_topics import HeldTopics
from application.engine.partition import Partition
from application.engine.publication import Publication
from application.ports import Document, InboxStart, Mark, Unavailable
from domain.aggregate.position import TopicPartition

#: Under load, rounds are so far apart that they write at most this many documents (ADR 8), because every round
#: writes the whole document of a workflow that keeps changing.
_DOCUMENTS_PER_SECOND = 700
_LONGEST_INTERVAL = timedelta(seconds=2)

#: How soon a running round is checked again: the inbox wakes the processor, a finished round does not.
_LOOK_AGAIN_SECONDS = 0.02


@dataclass(slots=True)
class _Snapshot:
    """The data that one round of projecting writes."""

    documents: list[Document]
    #: The documents that also go to the hot state.
    hot: list[Document]
    partitions: list[Partition]
    #: The states, with the versions that are written.
    states: list[tuple[Partition, str, int]]
    starts: list[InboxStart]
    #: The marks that this round makes true and that are not written yet.
    marks: list[tuple[Partition, datetime | None]]

    @property
    def is_empty(self) -> bool:
        return not (self.documents or self.starts or self.marks)


class Projector:
    """Runs one round at a time, while the next batches are decided."""

    def __init__(
        self,
        ports: Ports,
        settings: ProcessorSettings,
        health: Health,
        publication: Publication,
        held: HeldTopics,
    ) -> None:
        self._ports = ports
        self._settings = settings
        self._health = health
        self._publication = publication
        self._held = held
        self._round: asyncio.Task[None] | None = None
        #: When the last round began, on the monotonic clock: a wall clock that is set back would stop the rounds.
        self._last: float | None = None
        #: From the last round to the next.
        self._interval = settings.projection_interval

    def wait_seconds(self, partitions: Iterable[Partition]) -> float:
        """Seconds until the next round should begin, or the running one be checked."""
        if self._round is not None:
            return _LOOK_AGAIN_SECONDS
        interval = self._interval.total_seconds()
        if self._last is None or not any(partition.is_behind() for partition in partitions):
            return interval
        return interval - (self._ports.clock.monotonic() - self._last)

    async def project_if_due(self, partitions: Iterable[Partition]) -> None:
        """Begin a round if one is due and none is running. Raises the error of the last round."""
        if self._round is not None:
            if not self._round.done():
                return
            finished, self._round = self._round, None
            finished.result()
        now = self._ports.clock.monotonic()
        if self._last is not None and now - self._last < self._interval.total_seconds():
            return
        self._last = now
        # The events must be published before a state is shown or an offset committed.
        await self._publication.finish()
        snapshot = self._take(partitions)
        if not snapshot.is_empty:
            self._round = asyncio.ensure_future(self._try(snapshot))

    async def project(self, partitions: Iterable[Partition]) -> None:
        """Write everything now. Raises Unavailable."""
        await self._publication.finish()
        await self.abandon()
        await self._try(self._take(partitions, everything=True))

    def _take(self, partitions: Iterable[Partition], *, everything: bool = False) -> _Snapshot:
        now = self._ports.clock.now()
        owned = list(partitions)
        complete = [(p, now if everything else p.complete_until(now)) for p in owned]
        snapshot = _take(owned, now, everything=everything)
        at_full_rate = timedelta(seconds=len(snapshot.documents) / _DOCUMENTS_PER_SECOND)
        self._interval = max(
            self._settings.projection_interval, min(at_full_rate, _LONGEST_INTERVAL)
        )
        # While offsets are held back, readers cannot find out by them what is not projected yet.
        keeps_up = self._interval == self._settings.projection_interval and not self._held.is_any
        for partition, until in complete:
            # With nothing left to project the mark is None: it need not be written every round.
            mark = None if until == now and keeps_up else until
            if until is not None and (mark != partition.mark or not partition.is_marked):
                snapshot.marks.append((partition, mark))
        if self._held.is_any:
            # The omitted messages follow from inbox messages that must come again (ADR 24).
            snapshot.starts.clear()
        return snapshot

    async def abandon(self) -> None:
        """Let the running round end, whatever its outcome: what it writes is correct or refused."""
        running, self._round = self._round, None
        if running is not None:
            await asyncio.wait([running])
            if not running.cancelled():
                running.exception()

    async def _try(self, snapshot: _Snapshot) -> None:
        """Write the snapshot, or leave all of it to the next round: no offset may pass what was not written."""
        try:
            await self._write(snapshot)
        # Also when the round is cancelled.
        except BaseException:
            for partition, aggregate_id, _ in snapshot.states:
                if aggregate_id in partition.states:
                    partition.aging.add(aggregate_id)
            raise

    async def _write(self, snapshot: _Snapshot) -> None:
        if snapshot.documents:
            await self._ports.projections.save(snapshot.documents)
            await self._warm(snapshot.hot)
        if snapshot.starts:
            await self._ports.projections.save_starts(snapshot.starts)
            await self._ports.inbox.commit(
                {TopicPartition(s.topic, s.partition): s.offset for s in snapshot.starts}
            )
        await self._say_how_far(snapshot)
        self._written(snapshot)

    async def _say_how_far(self, snapshot: _Snapshot) -> None:
        """Last of all, since readers of lists believe it."""
        if snapshot.marks:
            await self._ports.projections.save_marks(
                [
                    Mark(partition.number, partition.claim, until)
                    for partition, until in snapshot.marks
                ]
            )

    async def _warm(self, documents: Sequence[Document]) -> None:
        """Write the hot state. If Redis fails, only readers become slower."""
        if self._ports.hot_state is None:
            return
        try:
            await self._ports.hot_state.save(documents)
            self._health.troubles.pop("redis", None)
        except Unavailable as away:
            self._health.troubles[away.component] = away.detail

    def _written(self, snapshot: _Snapshot) -> None:
        for partition, aggregate_id, version in snapshot.states:
            partition.projected(aggregate_id, version)
        owned = {partition.number: partition for partition in snapshot.partitions}
        for partition, mark in snapshot.marks:
            partition.mark, partition.is_marked = mark, True
        for start in snapshot.starts:
            owned[start.partition].committed[start.topic] = start.offset
        horizon = self._ports.clock.now() + 2 * self._settings.timers_ahead
        for partition in snapshot.partitions:
            partition.evict(self._settings.cached_instances, horizon)


def _take(partitions: Iterable[Partition], now: datetime, *, everything: bool = False) -> _Snapshot:
    """The instances that are due, in their newest state, and the offsets that this round covers.

    The offsets are those at the moment when the set of instances was closed: everything decided before is in the set
    or was written earlier.
    """
    snapshot = _Snapshot([], [], [], [], [], [])
    for partition in partitions:
        snapshot.partitions.append(partition)
        due, offsets = partition.aging, partition.aging_offsets
        if everything:
            due, offsets = due | partition.dirty, dict(partition.decided)
        for aggregate_id in due:
            hot = partition.states[aggregate_id]
            if hot.version > hot.projected:
                document = hot.document(partition.number)
                snapshot.documents.append(document)
                if hot.aggregate.is_hot:
                    snapshot.hot.append(document)
                snapshot.states.append((partition, aggregate_id, hot.version))
        for topic, offset in offsets.items():
            if partition.committed.get(topic) != offset:
                snapshot.starts.append(
                    InboxStart(topic, partition.number, partition.topic_ids[topic], offset)
                )
        partition.age(now)
    return snapshot

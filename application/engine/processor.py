"""The partition processor: take, load, decide, append, publish, project, commit (DESIGN 3).

There is one way to recover from any failure half-way: forget everything in memory and restart at the committed
offsets, as another engine would after a crash. The positions stored with each instance prevent messages from being
applied twice. What was appended but not published is published first.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Iterable, Sequence
from dataclasses import replace

import structlog

from application.aggregates.aggregate import Catalog
from application.codec.internal import signed_with
from application.engine.batch import Batch
from application.engine.claims import Claims, Fenced
from application.engine.environment import Health, Ports, ProcessorSettings
from application.engine.held_topics import HeldTopics
from application.engine.intake import sort
from application.engine.loader import Loader, UnreadablePartition
from application.engine.partition import Partition
from application.engine.projector import Projector
from application.engine.publication import Publication
from application.engine.takeover import Takeover
from application.engine.timekeeper import Timekeeper
from application.engine.watchers import TimerHeap
from application.ports import Assigned, InboxLayout, LaneState, Received, Unavailable

log = structlog.get_logger("WorkflowEngine")

#: The largest share of a batch that one instance may take at a time (PROTOCOL A9).
_SHARES = 4
#: From this many messages on, two writes that overlap with deciding are cheaper than one that does not.
_WORTH_PARTING = 64


class Processor:
    """Runs the inbox partitions that the consumer group assigns, until stopped."""

    def __init__(
        self,
        ports: Ports,
        layout: InboxLayout,
        partition_of: Callable[[str], int],
        catalog: Catalog,
        settings: ProcessorSettings | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self.health = Health()
        self._held = HeldTopics(ports.publisher, ports.topic_repair, ports.clock, self.health)
        self._ports = ports = replace(ports, publisher=self._held)
        self._layout = layout
        self._partition_of = partition_of
        self._settings = settings or ProcessorSettings()
        # Randomises the waits after a conflict, so that two engines do not keep colliding.
        self._rng = rng or random.Random()  # noqa: S311 - spreads waits, no secret depends on it
        self.partitions: dict[int, Partition] = {}
        #: Unreadable partitions met during work, with the reason. The restart that follows stops them.
        self._unreadable: dict[int, str] = {}
        self._stopping = False
        self._catalog = catalog
        self._sign = signed_with(layout.secret)
        self._loader = Loader(ports.event_log, ports.projections, ports.definitions.get, catalog)
        self._timekeeper = Timekeeper(ports, self._sign, self._settings, self._loader)
        self._publication = Publication(ports.publisher)
        self._projector = Projector(
            ports, self._settings, self.health, self._publication, self._held
        )
        self._claims = Claims(ports, self._loader, self._back_off)
        self._takeover = Takeover(
            ports,
            layout,
            self._loader,
            self._timekeeper,
            self._claims,
            self._sign,
            self._new_partition,
        )

    # Running -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until `stop`. Then project and commit what was decided, and leave the group."""
        await self._join()
        self.health.running = True
        trouble: Unavailable | None = None
        while not self._stopping:
            try:
                if trouble is not None:
                    await self._begin_again(trouble)
                    trouble = None
                    continue
                await self._round()
            except Unavailable as away:
                trouble = away
            except Fenced:
                trouble = Unavailable("engine", "another engine works on this partition")
            except UnreadablePartition as fault:
                _raise_alarm(fault)
                self._unreadable[fault.partition] = str(fault)
                trouble = Unavailable("engine", f"partition {fault.partition} stands still")
        if trouble is not None:
            # Memory may be ahead of the log, so it must not be projected when leaving the group.
            await self._begin_again(trouble)
        self.health.running = False
        await self._held.close()
        await self._ports.inbox.close()

    async def _join(self) -> None:
        """Become a member of the group, as soon as the broker answers."""
        wait = self._settings.retry_wait_seconds
        while not self._stopping:
            try:
                await self._ports.inbox.start(self)
            except Unavailable as away:
                log.warning("waiting for a server", component=away.component, detail=away.detail)
                self.health.troubles[away.component] = away.detail
                await self._ports.clock.sleep(wait)
                wait = min(wait * 2, self._settings.retry_wait_seconds * 16)
            else:
                return

    def stop(self) -> None:
        """Finish the batch under way, then leave."""
        self._stopping = True

    async def _round(self) -> None:
        received = await self._ports.inbox.take(self._settings.batch_size, self._wait_seconds())
        if received:
            await self._process(received)
        await self._timekeeper.send_due(self.partitions.values())
        await self._projector.project_if_due(self.partitions.values())
        self._held.look()
        for component in self.health.troubles.keys() - {"redis"}:
            del self.health.troubles[component]

    def _wait_seconds(self) -> float:
        """Seconds until something is due, at most one interval, so that stops and clock changes are noticed quickly."""
        if self._stopping:
            return 0.0
        wait = self._projector.wait_seconds(self.partitions.values())
        due = self._timekeeper.next_due(self.partitions.values())
        if due is not None:
            wait = min(wait, (due - self._ports.clock.now()).total_seconds())
        return max(0.0, wait)

    async def _begin_again(self, trouble: Unavailable) -> None:
        """Wait for the servers, then restart every partition from its committed offsets."""
        log.warning(
            "beginning again at the committed offsets",
            component=trouble.component,
            detail=trouble.detail,
        )
        self.health.troubles[trouble.component] = trouble.detail
        self._ports.telemetry.counted("restarts")
        await self._publication.abandon()
        await self._projector.abandon()
        self._held.reopen()
        # An attempt that fails half-way has lost them.
        partitions = sorted(self.partitions)
        wait = self._settings.retry_wait_seconds
        while not self._stopping:
            await self._ports.clock.sleep(wait)
            wait = min(wait * 2, self._settings.retry_wait_seconds * 16)
            try:
                await self._ports.inbox.restart(partitions)
            except Unavailable as still:
                self.health.troubles[still.component] = still.detail
                continue
            # From now on the inbox keeps them, until the group assigns them again.
            self._unreadable.clear()
            log.info("going on", component=trouble.component)
            return
        # Stopped before the servers came back. The last messages are not decided, so no offset may pass them.
        self._forget(sorted(self.partitions))

    # Called by the inbox --------------------------------------------------------------------------

    async def assigned(self, lanes: Sequence[LaneState]) -> Assigned:
        """Take partitions over: publish what the last owner may not have, and load what is open (PROTOCOL rule 6).

        A partition that cannot be read is stopped; it is one of these. The others are taken over.
        """
        stopped = {p: why for p, why in self._unreadable.items() if _has(lanes, p)}
        while True:
            try:
                taken = await self._takeover.take_over(
                    [lane for lane in lanes if lane.partition not in stopped]
                )
                break
            except UnreadablePartition as fault:
                _raise_alarm(fault)
                stopped[fault.partition] = str(fault)
        for partition in taken.partitions:
            self.partitions[partition.number] = partition
        log.info("partitions assigned", partitions=[p.number for p in taken.partitions])
        return Assigned(taken.starts, stopped)

    async def revoked(self, partitions: Sequence[int]) -> None:
        """Project and commit what was decided, so that the next owner starts there."""
        leaving = [self.partitions[p] for p in partitions if p in self.partitions]
        try:
            await self._projector.project(leaving)
        except Unavailable as away:
            # Nothing is lost: the next owner starts at older offsets.
            log.warning("leaving without commit", component=away.component, detail=away.detail)
        self._forget(partitions)

    async def lost(self, partitions: Sequence[int]) -> None:
        # Not abandoned: it may hold unpublished messages of partitions that we keep.
        await self._publication.settle()
        await self._projector.abandon()
        self._forget(partitions)

    def _forget(self, partitions: Iterable[int]) -> None:
        for number in partitions:
            self.partitions.pop(number, None)
        self._held.forget_samples()
        log.info("partitions given up", partitions=list(partitions))

    # One batch -----------------------------------------------------------------------------------

    async def _process(self, received: Sequence[Received]) -> None:
        """Decide and append everything, and begin to publish it. No offset is committed yet."""
        mine = [item for item in received if item.position.partition in self.partitions]
        batches = [self._batch(part) for part in _parts(mine)]
        if len(batches) == 1:
            await batches[0].run()
        else:
            # Both must end before anything is forgotten.
            ends = await asyncio.gather(*(batch.run() for batch in batches), return_exceptions=True)
            for end in ends:
                if end is not None:
                    raise end
        for item in mine:
            position = item.position
            decided = self.partitions[position.partition].decided
            decided[position.topic] = max(decided.get(position.topic, 0), position.offset + 1)

    def _batch(self, received: Sequence[Received]) -> Batch:
        intake = sort(received, self._partition_of, self._holds, self._catalog, self._sign)
        return Batch(
            self._ports,
            self.partitions,
            self._loader,
            self._publication,
            self._claims,
            self._back_off,
            self._catalog,
            self._sign,
            intake,
            share=max(1, self._settings.batch_size // _SHARES),
        )

    def _new_partition(self, number: int) -> Partition:
        return Partition(number, (TimerHeap(self._sign, self._settings.timer_resend),))

    def _holds(self, partition: int, aggregate_id: str) -> bool:
        return aggregate_id in self.partitions[partition].states

    @property
    def ports(self) -> Ports:
        return self._ports

    async def _back_off(self) -> None:
        """After a conflict: another engine may be about to step down (PROTOCOL rule 21)."""
        await self._ports.clock.sleep(self._rng.uniform(0.010, 0.200))


def _raise_alarm(fault: UnreadablePartition) -> None:
    log.error(
        "ALARM: a partition stands still until an operator has looked at it; the others go on",
        action="partition.unreadable",
        partition=fault.partition,
        detail=str(fault),
    )


def _has(lanes: Sequence[LaneState], partition: int) -> bool:
    return any(lane.partition == partition for lane in lanes)


def _parts(received: Sequence[Received]) -> Sequence[Sequence[Received]]:
    """Two parts if there are enough messages, so that one is decided while the other is appended."""
    if len(received) < _WORTH_PARTING:
        return (received,)
    parts: tuple[list[Received], list[Received]] = ([], [])
    # Partitions are independent; the order within each is kept.
    for item in received:
        parts[item.position.partition % 2].append(item)
    return [part for part in parts if part]

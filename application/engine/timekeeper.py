"""Sends due timers to the inbox, and loads aggregates whose timers are due soon (PROTOCOL rules 12 and 13)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from conveyor import topics
from conveyor.messages import Message

from application.codec.internal import Sign
from application.engine.environment import Ports, ProcessorSettings
from application.engine.loader import Loader
from application.engine.partition import Partition
from application.outputs import outputs
from domain.aggregate.position import TopicPartition

#: Aggregates loaded per page when reading ahead.
PAGE = 1000


class Timekeeper:
    """Asks the watchers of the owned partitions."""

    def __init__(
        self, ports: Ports, sign: Sign, settings: ProcessorSettings, loader: Loader
    ) -> None:
        self._ports = ports
        self._sign = sign
        self._settings = settings
        self._loader = loader
        #: Per partition: the monotonic time at which reading ahead must be repeated, whatever the wall clock says.
        self._look_again: dict[int, float] = {}

    async def send_due(self, partitions: Iterable[Partition]) -> None:
        """Send what is due, after reading ahead where the last look-ahead is about to expire."""
        now = self._ports.clock.now()
        owned = list(partitions)
        behind = [partition for partition in owned if self._is_running_out(partition, now)]
        if behind:
            await self.read_ahead(behind)
        messages: list[Message] = []
        for partition in owned:
            if self._is_held_back(partition):
                continue
            for watcher in partition.watchers:
                messages.extend(watcher.due(now))
        if messages:
            await self._ports.publisher.publish(messages)

    def next_due(self, partitions: Iterable[Partition]) -> datetime | None:
        """When the next timer may be sent; None if there is none."""
        moments = (
            watcher.next_due()
            for each in partitions
            if not self._is_held_back(each)
            for watcher in each.watchers
        )
        return min((due for due in moments if due is not None), default=None)

    def _is_held_back(self, partition: Partition) -> bool:
        """Whether timers must wait: a reply that was here at the assignment takes precedence over its step's time-out.

        Between two batches, everything that was handed out is decided.
        """
        lane = TopicPartition(topics.REPLIES, partition.number)
        return self._ports.inbox.handed_out(lane) < partition.replies_end

    async def read_ahead(self, partitions: Iterable[Partition]) -> None:
        """Load the aggregates that have a timer due soon and are not in memory."""
        ahead = self._settings.timers_ahead
        until = self._ports.clock.now() + ahead
        look_again = self._ports.clock.monotonic() + ahead.total_seconds() / 2
        for partition in partitions:
            missing, is_all = await self._missing(partition, until)
            if missing:
                loaded = (
                    await self._loader.load(dict.fromkeys(missing, partition.number))
                ).values()
                unpublished = [
                    message
                    for item in loaded
                    for commit in item.tail
                    for message in outputs(commit, self._sign)
                ]
                if unpublished:
                    await self._ports.publisher.publish(unpublished)
                for item in loaded:
                    partition.put_back(item.hot)
            partition.timers_read_until = until if is_all else None
            self._look_again[partition.number] = look_again

    def _is_running_out(self, partition: Partition, now: datetime) -> bool:
        until = partition.timers_read_until
        if until is None or now >= until - self._settings.timers_ahead / 2:
            return True
        return self._ports.clock.monotonic() >= self._look_again[partition.number]

    async def _missing(self, partition: Partition, until: datetime) -> tuple[list[str], bool]:
        """A page of the aggregates outside memory with a timer before then, and whether it is the last page."""
        limit = PAGE
        while True:
            due = await self._ports.projections.due(partition.number, until, limit)
            missing = [aggregate_id for aggregate_id in due if aggregate_id not in partition.states]
            if missing or len(due) < limit:
                return missing[:PAGE], len(due) < limit and len(missing) <= PAGE
            # All of this page is in memory; later pages may contain others.
            limit *= 2

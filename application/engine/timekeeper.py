"""Timers that fire: due ones are sent to the inbox as messages, again until they were applied (PROTOCOL 12, 13)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime

from conveyor import topics
from conveyor.messages import Message

from application.codec.commands import timer_message
from application.engine.environment import Ports, ProcessorSettings
from application.engine.hot import Partition
from application.engine.loader import Loader
from domain.aggregate.position import TopicPartition

#: Instances loaded at once when looking ahead.
PAGE = 1000


class Timekeeper:
    """Watches the timers of the owned partitions."""

    def __init__(
        self, ports: Ports, secret: bytes, settings: ProcessorSettings, loader: Loader
    ) -> None:
        self._ports = ports
        self._secret = secret
        self._settings = settings
        self._loader = loader

    async def send_due(self, partitions: Iterable[Partition]) -> None:
        """Send what is due, after a look ahead where the last one is running out."""
        now = self._ports.clock.now()
        owned = list(partitions)
        behind = [p for p in owned if _is_running_out(p, now, self._settings)]
        if behind:
            await self.read_ahead(behind)
        messages: list[Message] = []
        for partition in owned:
            if self._is_held_back(partition):
                continue
            for hot, firings in partition.take_due(now, self._settings.timer_resend):
                workflow_id = hot.instance.id
                messages.extend(timer_message(self._secret, workflow_id, each) for each in firings)
        if messages:
            await self._ports.publisher.publish(messages)

    def next_due(self, partitions: Iterable[Partition]) -> datetime | None:
        """When the next timer may be sent; None as long as there is none."""
        moments = (each.next_timer() for each in partitions if not self._is_held_back(each))
        return min((due for due in moments if due is not None), default=None)

    def _is_held_back(self, partition: Partition) -> bool:
        """A reply that lay here at the assignment must win over the time-out of its step.

        Whatever was handed out is decided, between one batch and the next.
        """
        lane = TopicPartition(topics.REPLIES, partition.number)
        return self._ports.inbox.handed_out(lane) < partition.replies_end

    async def read_ahead(self, partitions: Iterable[Partition]) -> None:
        """Load the instances that have a timer soon and are not in memory."""
        until = self._ports.clock.now() + self._settings.timers_ahead
        for partition in partitions:
            missing, is_all = await self._missing(partition, until)
            if missing:
                loaded = (await self._loader.load(missing)).values()
                unpublished = [message for item in loaded for message in item.unpublished]
                if unpublished:
                    await self._ports.publisher.publish(unpublished)
                for item in loaded:
                    partition.put_back(item.hot)
            partition.timers_read_until = until if is_all else None

    async def _missing(self, partition: Partition, until: datetime) -> tuple[list[str], bool]:
        """A page of the instances with a timer until then that are not in memory, and whether that is all."""
        limit = PAGE
        while True:
            due = await self._ports.projections.due(partition.number, until, limit)
            missing = [workflow_id for workflow_id in due if workflow_id not in partition.instances]
            if missing or len(due) < limit:
                return missing[:PAGE], len(due) < limit and len(missing) <= PAGE
            # All of the page is in memory; what is not may be behind it.
            limit *= 2


def _is_running_out(partition: Partition, now: datetime, settings: ProcessorSettings) -> bool:
    until = partition.timers_read_until
    return until is None or now >= until - settings.timers_ahead / 2

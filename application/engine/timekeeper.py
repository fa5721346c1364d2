"""Timers that fire: due ones are sent to the inbox as messages, again until they were applied (PROTOCOL 12, 13)."""

from __future__ import annotations

from collections.abc import Iterable
from datetime import datetime
from typing import TYPE_CHECKING

from conveyor import topics
from conveyor.messages import Message

from application.codec.commands import timer_message
from application.engine.hot import Partition
from application.engine.loader import Loader

if TYPE_CHECKING:
    from application.engine.processor import Ports, ProcessorSettings

#: Instances read at once when looking ahead.
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
            # A reply that lies here already must win over the time-out of its step.
            if partition.decided.get(topics.REPLIES, 0) < partition.replies_end:
                continue
            for hot, firings in partition.take_due(now, self._settings.timer_resend):
                workflow_id = hot.instance.id
                messages.extend(timer_message(self._secret, workflow_id, each) for each in firings)
        if messages:
            await self._ports.publisher.publish(messages)

    async def read_ahead(self, partitions: Iterable[Partition]) -> None:
        """Load the instances that have a timer soon and are not in memory."""
        until = self._ports.clock.now() + self._settings.timers_ahead
        for partition in partitions:
            documents = await self._ports.projections.due(partition.number, until, PAGE)
            missing = {d["_id"]: d for d in documents if d["_id"] not in partition.instances}
            if missing:
                loaded = await self._loader.with_tails(missing, missing)
                for workflow_id, item in loaded.items():
                    # Meanwhile decided: what is in memory is newer.
                    if workflow_id not in partition.instances:
                        partition.put(item.hot)
            # A full page may have more behind it: look again at once.
            partition.timers_read_until = until if len(documents) < PAGE or not missing else None


def _is_running_out(partition: Partition, now: datetime, settings: ProcessorSettings) -> bool:
    until = partition.timers_read_until
    return until is None or now >= until - settings.timers_ahead / 2

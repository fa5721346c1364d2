"""The workflow events of a memory broker, followed as they come."""

from __future__ import annotations

from collections.abc import AsyncGenerator

from conveyor.messages import Message
from conveyor.topics import EVENTS

from adapters.memory.broker import Bell, MemoryBroker


class MemoryEventFeed:
    """`EventFeed` on a `MemoryBroker`."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def follow(self) -> AsyncGenerator[Message]:
        """Everything from now on, except records that are not CloudEvents."""
        topic = self._broker.topic(EVENTS)
        positions = [log.end for log in topic.logs]
        bell = Bell()
        topic.bells.append(bell)
        try:
            while True:
                for partition, log in enumerate(topic.logs):
                    fresh = log.read(positions[partition], log.end)
                    positions[partition] = log.end
                    for stored in fresh:
                        if isinstance(stored.message, Message):
                            yield stored.message
                if all(at == log.end for at, log in zip(positions, topic.logs, strict=True)):
                    await bell.wait(None)
        finally:
            topic.bells.remove(bell)

"""Writing to a memory broker."""

from __future__ import annotations

from collections.abc import Sequence

from conveyor.messages import Message, Record

from adapters.memory.broker import MemoryBroker


class MemoryPublisher:
    """`PublishEventPort` on a `MemoryBroker`. Messages are written when the call returns, and never refused."""

    def __init__(self, broker: MemoryBroker) -> None:
        self._broker = broker

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        for message in messages:
            self._broker.append(message)

"""A transport without a broker, for tests of participants."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Sequence

from conveyor.messages import Message, Record
from conveyor.transport import Taken


class MemoryTransport:
    """One partition of requests in memory. Replies are collected in `replies`."""

    def __init__(self) -> None:
        self.replies: list[Message] = []
        self.dead_letters: list[Record] = []
        #: Offsets taken and not finished.
        self.unfinished: set[int] = set()
        self._waiting: deque[Taken] = deque()
        self._offsets = 0
        self._changed = asyncio.Condition()

    async def request(self, *messages: Message) -> None:
        """Send requests to the participant."""
        async with self._changed:
            for message in messages:
                self._waiting.append(Taken(message, 0, self._offsets))
                self._offsets += 1
            self._changed.notify_all()

    async def until_replied(self, count: int) -> Sequence[Message]:
        """Wait for `count` replies and return all."""
        async with self._changed:
            await self._changed.wait_for(lambda: len(self.replies) >= count)
        return self.replies

    async def start(self, participant: str, services: Sequence[str]) -> None:
        """There is no group to join."""

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        async with self._changed:
            if limit and not self._waiting:
                try:
                    async with asyncio.timeout(wait_seconds):
                        await self._changed.wait()
                except TimeoutError:
                    return ()
            taken = [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]
        self.unfinished.update(each.offset for each in taken)
        return taken

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        async with self._changed:
            for reply in replies:
                if isinstance(reply, Message):
                    self.replies.append(reply)
                else:
                    self.dead_letters.append(reply)
            self.unfinished.difference_update(each.offset for each in done)
            self._changed.notify_all()

    async def close(self) -> None:
        """Requests that were not taken stay."""

"""Publishing what was appended, while the next batch is decided.

At most one publication is running, so messages keep the order of their commits. Code that reads decisions from the
stores, or reports that they are done, waits for it first.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence

from conveyor.messages import Message, Record

from application.ports import PublishEventPort


class Publication:
    """The running publication, if any."""

    def __init__(self, publisher: PublishEventPort) -> None:
        self._publisher = publisher
        self._under_way: asyncio.Future[None] | None = None
        self._turn = asyncio.Lock()

    async def begin(
        self, messages: Sequence[Message | Record], published: Callable[[], None]
    ) -> None:
        """Publish these messages after the previous ones, then call `published`.

        Raises Unavailable if the previous ones failed; then these are not sent (PROTOCOL rule 7).
        """
        async with self._turn:
            await self.finish()
            under_way = asyncio.ensure_future(self._publisher.publish(messages))
            under_way.add_done_callback(lambda done: _call(published, done))
            self._under_way = under_way

    async def finish(self) -> None:
        """Wait until everything is published. Raises Unavailable, then and until the publication is abandoned."""
        under_way = self._under_way  # another one may have begun meanwhile
        await self.settle()
        if under_way is not None:
            under_way.result()

    async def settle(self) -> None:
        """Wait for it to finish; the next caller still sees its error.

        It is not cancelled: the embedded store might still write its group, which would collide with the outcome of the
        same messages when they come again.
        """
        if self._under_way is not None and not self._under_way.done():
            await asyncio.wait([self._under_way])

    async def abandon(self) -> None:
        """Let it end and ignore its outcome: every partition restarts, and publishes what is not committed."""
        under_way = self._under_way
        await self.settle()
        if self._under_way is under_way:
            self._under_way = None


def _call(published: Callable[[], None], done: asyncio.Future[None]) -> None:
    if not done.cancelled() and done.exception() is None:
        published()

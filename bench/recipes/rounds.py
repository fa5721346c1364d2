"""Writing behind in rounds, as the engine's projector does: what a run without an engine needs of it."""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable, Mapping
from typing import Generic, TypeVar

from infrastructure.settings import EngineSection

K = TypeVar("K")
V = TypeVar("V")

PROJECTION_SECONDS = EngineSection().projection_interval_ms / 1000


class Rounds(Generic[K, V]):
    """The newest value of each key, written every so often, during everything else.

    A round writes what changed before the round before it began, so that what changes often is
    written seldom.
    """

    def __init__(self, interval_seconds: float) -> None:
        self._interval = interval_seconds
        self._next = time.monotonic() + interval_seconds
        self._newest: dict[K, V] = {}
        self._young: set[K] = set()
        self._aging: set[K] = set()
        self._round: asyncio.Task[None] | None = None

    def changed(self, values: Mapping[K, V]) -> None:
        self._newest.update(values)
        self._young.update(values.keys() - self._aging)

    async def begin_if_due(self, write: Callable[[Mapping[K, V]], Awaitable[None]]) -> None:
        """Begin a round if it is time and none runs; raises what the last one ran into."""
        running = self._round
        if running is not None:
            if not running.done():
                return
            self._round = None
            await running
        if time.monotonic() >= self._next:
            self._next = time.monotonic() + self._interval
            due = {key: self._newest.pop(key) for key in self._aging}
            self._aging, self._young = self._young, set()
            if due:
                self._round = asyncio.ensure_future(write(due))

    async def finish(self, write: Callable[[Mapping[K, V]], Awaitable[None]]) -> None:
        """Write everything that is left."""
        if self._round is not None:
            await self._round
        if self._newest:
            await write(self._newest)

"""The work that goes on at this moment of virtual time, and the work that waits for a later one."""

from __future__ import annotations

import asyncio
import heapq
from collections import Counter
from collections.abc import Hashable
from dataclasses import dataclass


@dataclass(slots=True, eq=False)
class _Sleeper:
    """Some work that goes on later."""

    waking: asyncio.Future[None]
    work: tuple[Hashable, ...]


class Activity:
    """Counts the work that is under way. Work that sleeps on virtual time holds nothing up.

    The kit lets time pass only when all work is done or sleeps, so a handler may take as long as it wants.
    """

    def __init__(self) -> None:
        #: Seconds of virtual time.
        self.now = 0.0
        self._working: Counter[Hashable] = Counter()
        self._sleeping: Counter[Hashable] = Counter()
        self._sleepers: list[tuple[float, int, _Sleeper]] = []
        self._sleeps = 0
        self._changed = asyncio.Event()
        self._failure: BaseException | None = None

    def begin(self, work: Hashable) -> None:
        self._working[work] += 1

    def end(self, work: Hashable) -> None:
        self._working[work] -= 1
        if not self._working[work]:
            del self._working[work]
        self._changed.set()

    def fail(self, failure: BaseException) -> None:
        """Let `until_quiet` raise it; the first one counts."""
        self._failure = self._failure or failure
        self._changed.set()

    async def sleep(self, seconds: float, *work: Hashable) -> None:
        """Wait on virtual time; until then this work does not count."""
        sleeper = _Sleeper(asyncio.get_running_loop().create_future(), work)
        self._sleeps += 1
        heapq.heappush(self._sleepers, (self.now + seconds, self._sleeps, sleeper))
        self._sleeping.update(work)
        self._changed.set()
        try:
            await sleeper.waking
        except asyncio.CancelledError:
            self._rouse(sleeper)
            raise

    @property
    def due(self) -> float | None:
        """When the next sleeper wakes; None if nobody sleeps."""
        while self._sleepers and self._sleepers[0][2].waking.done():
            heapq.heappop(self._sleepers)
        return self._sleepers[0][0] if self._sleepers else None

    def wake(self, now: float) -> None:
        """It is that late; from this moment on the work of those that wake counts again."""
        self.now = now
        while self._sleepers and self._sleepers[0][0] <= now:
            _, _, sleeper = heapq.heappop(self._sleepers)
            self._rouse(sleeper)
            if not sleeper.waking.done():
                sleeper.waking.set_result(None)

    async def until_quiet(self) -> None:
        """Wait, in real time, until nobody works. Raises what `fail` was given."""
        while self._working.keys() - self._sleeping.keys():
            if self._failure is not None:
                break
            self._changed.clear()
            await self._changed.wait()
        if self._failure is not None:
            failure, self._failure = self._failure, None
            raise failure

    def _rouse(self, sleeper: _Sleeper) -> None:
        for each in sleeper.work:
            self._sleeping[each] -= 1
            if self._sleeping[each] <= 0:
                del self._sleeping[each]
        sleeper.work = ()

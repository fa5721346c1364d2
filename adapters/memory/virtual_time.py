"""An event loop on virtual time: when nothing is ready, its clock jumps to what comes next.

It has no IO, no threads and no wall clock, so a run depends on nothing but its program and its seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from datetime import datetime, timedelta
from typing import Any, TypeVar, cast

from application.codec.times import truncated

T = TypeVar("T")

#: What is due within it of each other happens together: sums of seconds are not exact.
_RESOLUTION_SECONDS = 1e-6


class Stuck(Exception):
    """Nothing is ready and nothing is scheduled: everybody waits for somebody else."""


class _Jump:
    """Stands where the selector stands: instead of waiting, time passes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None or timeout > 0:
            self._loop.idle()
        return []

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Seconds since its beginning are its time."""

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)
        self._now = 0.0
        #: Where `settle` stops; None: time passes as long as something is scheduled.
        self._until: float | None = None
        self._selector = _Jump(self)

    def time(self) -> float:
        return self._now

    def settle(self, until: float | None = None) -> None:
        """Run what is due up to that time (by default now) until nothing is ready; it is that time then."""
        self._until = self._now if until is None else until
        try:
            self.run_forever()
        finally:
            self._until = None

    def idle(self) -> None:
        """Nothing is ready: go to the next scheduled call, or stop settling."""
        scheduled: list[asyncio.TimerHandle] = cast(Any, self)._scheduled  # noqa: SLF001 - asyncio has no public name
        following = scheduled[0].when() if scheduled else None
        if self._until is None:
            if following is None:
                raise Stuck
        elif following is None or following > self._until + _RESOLUTION_SECONDS:
            self._now = max(self._now, self._until)
            self.stop()
            return
        self._now = max(self._now, following)

    def close(self) -> None:
        """Cancel what still runs, and close."""
        if left := asyncio.all_tasks(self):
            for task in left:
                task.cancel()
            self.run_until_complete(asyncio.gather(*left, return_exceptions=True))
        super().close()

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector, so nobody has to be woken."""


class VirtualClock:
    """The `Clock` port on a virtual loop, which began at this time of day."""

    def __init__(self, loop: VirtualLoop, beginning: datetime) -> None:
        self._loop = loop
        self._beginning = beginning

    def now(self) -> datetime:
        return truncated(self._beginning + timedelta(seconds=self._loop.time()))

    def monotonic(self) -> float:
        return self._loop.time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on virtual time. Raises Stuck."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        loop.close()


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing, as those of the memory stores."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    raise RuntimeError("it waited for something")

"""An event loop on virtual time: when nothing is ready, its clock jumps to what comes next.

It has no IO, no threads and no wall clock, so a run depends on nothing but its program and its seed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Coroutine
from typing import Any, TypeVar

T = TypeVar("T")


class Stuck(Exception):
    """Nothing is ready and nothing is scheduled: everybody waits for somebody else."""


class _Jump:
    """Stands where the selector stands: instead of waiting, time passes."""

    def __init__(self, loop: VirtualLoop) -> None:
        self._loop = loop

    def select(self, timeout: float | None) -> list[Any]:
        if timeout is None:
            raise Stuck
        if timeout > 0:
            self._loop.jump()
        return []

    def close(self) -> None:
        """Nothing is open."""


class VirtualLoop(asyncio.BaseEventLoop):
    """Seconds since its beginning are its time."""

    def __init__(self) -> None:
        super().__init__()
        self.set_debug(False)
        self._now = 0.0
        self._selector = _Jump(self)

    def time(self) -> float:
        return self._now

    def jump(self) -> None:
        """To the next scheduled call."""
        scheduled: list[asyncio.TimerHandle] = self._scheduled  # type: ignore[attr-defined]
        self._now = max(self._now, scheduled[0].when())

    def _process_events(self, event_list: list[Any]) -> None:
        """There are none."""

    def _write_to_self(self) -> None:
        """Nobody sleeps in a selector, so nobody has to be woken."""


def run(main: Coroutine[Any, Any, T]) -> T:
    """As `asyncio.run`, on virtual time."""
    loop = VirtualLoop()
    try:
        return loop.run_until_complete(main)
    finally:
        _cancel_all(loop)
        loop.close()


def _cancel_all(loop: VirtualLoop) -> None:
    left = asyncio.all_tasks(loop)
    for task in left:
        task.cancel()
    if left:
        loop.run_until_complete(asyncio.gather(*left, return_exceptions=True))


def drive(coroutine: Coroutine[Any, Any, T]) -> T:
    """What a coroutine returns that waits for nothing, as those of the memory stores."""
    try:
        coroutine.send(None)
    except StopIteration as finished:
        return finished.value
    raise RuntimeError("it waited for something")

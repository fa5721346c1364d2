"""The `Clock` port on virtual time, wrong by a constant as clocks of machines are."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

from application.codec.times import truncated
from tests.simulation.faults import Process, Weather

BEGINNING = datetime(2026, 11, 21, tzinfo=UTC)


def virtual_now() -> datetime:
    """The right time."""
    elapsed = timedelta(seconds=asyncio.get_running_loop().time())
    return truncated(BEGINNING + elapsed)


class SimulatedClock:
    """One process's clock, off by `skew` (whole milliseconds) until the world heals."""

    def __init__(self, process: Process, weather: Weather, skew: timedelta) -> None:
        self._process = process
        self._weather = weather
        self.skew = skew

    def now(self) -> datetime:
        return virtual_now() if self._weather.is_clear else virtual_now() + self.skew

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await self._process.checkpoint()

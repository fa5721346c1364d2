"""Processes that die or freeze between any two awaits, and a network that fails them.

A call to a server is a request and an answer. A request that was sent lands whatever becomes of its
sender; an answer finds its process dead, frozen, or is lost on the way. All from one seeded source.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable
from dataclasses import dataclass, field
from enum import Enum
from typing import Final, TypeVar

from application.ports import Unavailable
from tests.simulation.trace import Trace

T = TypeVar("T")

MILLISECOND: Final = 0.001


class Process:
    """One process: `checkpoint` stands before and after everything that it does outside itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.frozen_since: float | None = None
        self._thawed = asyncio.Event()

    async def checkpoint(self) -> None:
        """Go on, later if frozen; a dead process does not go on at all."""
        while self.frozen_since is not None and not self.is_dead:
            await self._thawed.wait()
        if self.is_dead:
            raise asyncio.CancelledError

    def die(self) -> None:
        self.is_dead = True
        self._thawed.set()

    def freeze(self) -> None:
        self.frozen_since = asyncio.get_running_loop().time()
        self._thawed.clear()

    def thaw(self) -> None:
        self.frozen_since = None
        self._thawed.set()

    def is_silent_for(self, seconds: float) -> bool:
        """Others may take it for dead."""
        if self.is_dead:
            return True
        since = self.frozen_since
        return since is not None and asyncio.get_running_loop().time() - since >= seconds


class Fate(Enum):
    """What becomes of one call."""

    FINE = "fine"
    #: It never arrived.
    BEFORE = "before"
    #: It took effect, its answer was lost.
    AFTER = "after"
    #: Some of it took effect, and its answer was lost.
    PARTLY = "partly"
    #: The caller gave up, and then it took effect.
    LATE = "late"


@dataclass(slots=True)
class Weather:
    """How bad it is; probabilities per call, times in seconds."""

    failing: float
    latency: float
    duplicates: float
    #: component -> until when nothing of it answers
    outages: dict[str, float] = field(default_factory=dict[str, float])
    is_clear: bool = False

    def clear(self) -> None:
        self.is_clear = True
        self.failing = self.duplicates = 0.0
        self.outages.clear()


class Network:
    """Carries the calls of all processes."""

    def __init__(self, rng: random.Random, weather: Weather, trace: Trace) -> None:
        self.rng = rng
        self.weather = weather
        self.trace = trace
        #: Requests on their way.
        self.in_flight = 0
        #: Promises of the stores that were broken in between, as sentences.
        self.broken: list[str] = []

    def latency(self) -> float:
        return self.rng.uniform(0.1 * MILLISECOND, self.weather.latency)

    def is_duplicated(self) -> bool:
        return self.rng.random() < self.weather.duplicates

    def fate(self, component: str) -> Fate:
        if self.weather.outages.get(component, 0.0) > asyncio.get_running_loop().time():
            return Fate.BEFORE
        if self.rng.random() >= self.weather.failing:
            return Fate.FINE
        return self.rng.choice((Fate.BEFORE, Fate.AFTER, Fate.PARTLY, Fate.LATE))

    def later(self, seconds: float, act: Callable[[], None]) -> None:
        """Do it then, whoever has died by then."""
        self.in_flight += 1

        def land() -> None:
            self.in_flight -= 1
            act()

        asyncio.get_running_loop().call_later(seconds, land)

    async def read(self, process: Process, component: str, look: Callable[[], T]) -> T:
        """Ask a server. Raises Unavailable."""
        await process.checkpoint()
        lost = self.fate(component) is not Fate.FINE
        await asyncio.sleep(self.latency())
        answer = None if lost else look()
        await asyncio.sleep(self.latency())
        await process.checkpoint()
        if answer is None:
            raise self._unavailable(process, component, "read")
        return answer

    async def write(
        self, process: Process, component: str, act: Callable[[bool], T], what: str
    ) -> T:
        """Have a server do something: all of it, or, where asked, a part. Raises Unavailable."""
        await process.checkpoint()
        fate = self.fate(component)
        delay = self.latency()
        if fate is Fate.BEFORE:
            await self._wait(process, delay)
            raise self._unavailable(process, component, f"{what}: {fate.value}")
        landed: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def land() -> None:
            result = act(fate is Fate.PARTLY)
            if not landed.done():
                landed.set_result(result)

        if fate is Fate.LATE:
            self.later(delay + self.rng.uniform(0.0, 1.5), land)
            await self._wait(process, delay)
            raise self._unavailable(process, component, f"{what}: {fate.value}")
        self.later(delay, land)
        result = await landed
        await self._wait(process, self.latency())
        if fate is not Fate.FINE:
            raise self._unavailable(process, component, f"{what}: {fate.value}")
        return result

    async def _wait(self, process: Process, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await process.checkpoint()

    def _unavailable(self, process: Process, component: str, detail: str) -> Unavailable:
        self.trace.note(process.name, f"unavailable: {component}, {detail}")
        return Unavailable(component, detail)

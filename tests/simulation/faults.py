"""Processes that die or freeze between any two awaits, and a network that fails them.

A call to a server is a request and an answer. A request that was sent lands whatever becomes of its
sender; an answer finds its process dead, frozen, or is lost on the way.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Final, TypeVar

from application.ports import Unavailable
from tests.simulation.chances import Chances, Kind
from tests.simulation.trace import Trace

T = TypeVar("T")

MILLISECOND: Final = 0.001


class Process:
    """One process: `checkpoint` stands before and after everything that it does outside itself."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.is_dead = False
        self.frozen_since: float | None = None
        #: A publication has failed.
        self.has_unsent = False
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


#: What becomes of a call that fails: it never arrives; it takes effect and its answer is lost; some of it
#: takes effect; or the caller gives up first, and then it takes effect.
_WRITES_FAIL = (Kind.CALL_LOST, Kind.ANSWER_LOST, Kind.PARTLY_WRITTEN, Kind.CALL_LATE)
_READS_FAIL = (Kind.CALL_LOST, Kind.ANSWER_LOST)


@dataclass(slots=True)
class Weather:
    """How bad it is; probabilities per call, times in seconds."""

    failing: float
    latency: float
    duplicates: float
    #: Of commits, that a majority has them later than the primary.
    lagging: float = 0.0
    #: Of requests to participants, that something between engine and participant holds them up.
    holding_up: float = 0.0
    #: Of participants that hold keys, that they cannot renew their holds for longer than a lease.
    cutting_off: float = 0.0
    #: Of calls for messages, that one of the caller's partitions is lost to it, and given to it again.
    losing: float = 0.0
    #: component -> until when nothing of it answers
    outages: dict[str, float] = field(default_factory=dict[str, float])
    #: Topics that refuse every message of an engine, in each attempt, until somebody permits it again.
    refusing: set[str] = field(default_factory=set[str])
    is_clear: bool = False

    def clear(self) -> None:
        self.is_clear = True
        self.failing = self.duplicates = self.lagging = 0.0
        self.holding_up = self.cutting_off = self.losing = 0.0
        self.outages.clear()
        self.refusing.clear()


class Network:
    """Carries the calls of all processes."""

    def __init__(
        self, chances: Chances, weather: Weather, trace: Trace, of: str | None = None
    ) -> None:
        """`of`: those whose calls are not to disturb the dice of the others."""
        self._suffix = "" if of is None else f" {of}"
        self.chances = chances
        self.weather = weather
        self.trace = trace
        #: Requests on their way.
        self.in_flight = 0
        #: What the server does at this moment, its caller gave up long ago.
        self.is_late = False
        self.dice = chances.stream(f"network{self._suffix}")

    def latency(self) -> float:
        return 0.0001 + self.dice.random() * self.weather.latency

    def is_away(self, component: str) -> bool:
        return self.weather.outages.get(component, 0.0) > asyncio.get_running_loop().time()

    def later(self, seconds: float, act: Callable[[], object]) -> None:
        """Do it then, whoever has died by then."""
        self.in_flight += 1

        def land() -> None:
            self.in_flight -= 1
            act()

        asyncio.get_running_loop().call_later(seconds, land)

    async def read(self, process: Process, component: str, look: Callable[[], T]) -> T:
        """Ask a server. Raises Unavailable."""
        await process.checkpoint()
        await asyncio.sleep(self.latency())
        if (
            self.is_away(component)
            or self.chances.one_of(_READS_FAIL, self.weather.failing, f"reads{self._suffix}")
            is not None
        ):
            await self._wait(process, self.latency())
            raise self._unavailable(process, component, "read")
        answer = look()
        await self._wait(process, self.latency())
        return answer

    async def reach(self, process: Process, component: str) -> None:
        """A server is there, or raises Unavailable: for calls whose answer does not come over the network."""
        await self.read(process, component, _nothing)

    async def write(
        self, process: Process, component: str, act: Callable[[bool], T], what: str
    ) -> T:
        """Have a server do something: all of it, or, where asked, a part. Raises Unavailable."""
        await process.checkpoint()
        fate = Kind.OUTAGE if self.is_away(component) else None
        if fate is None:
            fate = self.chances.one_of(_WRITES_FAIL, self.weather.failing, f"writes{self._suffix}")
        delay = self.latency()
        if fate is Kind.OUTAGE or fate is Kind.CALL_LOST:
            await self._wait(process, delay)
            raise self._unavailable(process, component, f"{what}: {fate}")
        landed: asyncio.Future[T] = asyncio.get_running_loop().create_future()

        def land() -> None:
            self.is_late = fate is Kind.CALL_LATE
            result = act(fate is Kind.PARTLY_WRITTEN)
            self.is_late = False
            if not landed.done():
                landed.set_result(result)

        if fate is Kind.CALL_LATE:
            self.later(delay + self.dice.uniform(0.0, 1.5), land)
            await self._wait(process, delay)
            raise self._unavailable(process, component, f"{what}: {fate}")
        self.later(delay, land)
        result = await landed
        await self._wait(process, self.latency())
        if fate is not None:
            raise self._unavailable(process, component, f"{what}: {fate}")
        return result

    async def _wait(self, process: Process, seconds: float) -> None:
        await asyncio.sleep(seconds)
        await process.checkpoint()

    def _unavailable(self, process: Process, component: str, detail: str) -> Unavailable:
        if self.trace.is_kept:
            self.trace.note(process.name, f"unavailable: {component}, {detail}")
        return Unavailable(component, detail)


def _nothing() -> None:
    """The answer does not matter."""

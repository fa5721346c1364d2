"""A hold of an idempotency key lasts as long as its process renews it, dead or alive."""

from __future__ import annotations

import asyncio

from conveyor.keys import KeyRecord

from adapters.memory import virtual_time
from tests.simulation.chances import Chances, Plan
from tests.simulation.faults import Network, Process, Weather
from tests.simulation.participants import LEASE_SECONDS, FaultyKeyStore, KeyRecords
from tests.simulation.trace import Trace
from tests.simulation.world import Parts, World

KEY = "wf-0/reserve/1"


class _Two:
    """Two processes of one participant; nothing fails but what a test takes away."""

    def __init__(self, *, cutting_off: float = 0.0) -> None:
        trace = Trace(is_kept=False)
        chances = Chances(0, Plan(), trace)
        self.weather = Weather(failing=0.0, latency=0.0, duplicates=0.0, cutting_off=cutting_off)
        network = Network(chances, self.weather, trace)
        shared = KeyRecords(World(chances, trace, Parts(), Plan()).watch, trace)
        self.expelled: list[str] = []
        self.processes = [Process("one"), Process("other")]
        self.one, self.other = (
            FaultyKeyStore(shared, each, network, lambda name=each.name: self.expelled.append(name))
            for each in self.processes
        )


def test_a_hold_that_is_renewed_stays() -> None:
    """However long its handler runs."""

    async def scenario() -> tuple[dict[str, KeyRecord], frozenset[str]]:
        two = _Two()
        await two.one.open({KEY: 1})
        await asyncio.sleep(3 * LEASE_SECONDS)
        return dict(await two.other.open({KEY: 1})), await two.one.save({KEY: KeyRecord()})

    assert virtual_time.run(scenario()) == ({}, frozenset())


def test_a_dead_process_holds_until_its_lease_is_over() -> None:
    """Nobody knows before that it is dead; then its attempt is a claim that nobody resolved."""

    async def scenario() -> list[dict[str, KeyRecord]]:
        two = _Two()
        await two.one.open({KEY: 1})
        two.processes[0].die()
        at_once = dict(await two.other.open({KEY: 2}))
        await asyncio.sleep(LEASE_SECONDS)
        return [at_once, dict(await two.other.open({KEY: 2}))]

    assert virtual_time.run(scenario()) == [{}, {KEY: KeyRecord(claimed=1)}]


def test_a_living_process_loses_its_hold_when_the_store_is_away_for_longer() -> None:
    """What it saves then is refused, and the process that took the key over goes on."""

    async def scenario() -> tuple[dict[str, KeyRecord], frozenset[str], frozenset[str]]:
        two = _Two()
        await two.one.open({KEY: 1})
        two.weather.outages["keys"] = 1.1 * LEASE_SECONDS
        await asyncio.sleep(1.15 * LEASE_SECONDS)
        taken = dict(await two.other.open({KEY: 2}))
        return taken, await two.one.save({KEY: KeyRecord()}), await two.other.save(taken)

    assert virtual_time.run(scenario()) == (
        {KEY: KeyRecord(claimed=1)},
        frozenset({KEY}),
        frozenset(),
    )


def test_the_fault_makes_a_lease_run_out_while_its_process_lives() -> None:
    """It is cut off from its group too, so that somebody else is asked for the same."""

    async def scenario() -> tuple[list[str], dict[str, KeyRecord]]:
        two = _Two(cutting_off=1.0)
        await two.one.open({KEY: 1})
        await asyncio.sleep(LEASE_SECONDS + 0.1)
        return two.expelled, dict(await two.other.open({KEY: 2}))

    assert virtual_time.run(scenario()) == (["one"], {KEY: KeyRecord(claimed=1)})

"""`conveyor verify` on what simulated systems leave behind: engines that died, wrote late, published twice."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass
from datetime import datetime, timedelta

import pytest
from conveyor import topics

from adapters.memory.verification import MemoryPublishedEvents, MemoryStoreScan
from application.verification import memory
from application.verification.findings import Kind, Report
from application.verification.verifier import Verifier
from domain.definition.definition import WorkflowDefinition
from tests.simulation import simulation
from tests.simulation.definitions import SHELF
from tests.simulation.mutants import parts_of
from tests.simulation.quiet import COMMAND_IDS_KEPT
from tests.simulation.world import Parts, World

pytestmark = pytest.mark.simulation


@dataclass
class Later:
    """A clock that stands long after the end of a run."""

    at: datetime

    def now(self) -> datetime:
        return self.at

    def monotonic(self) -> float:
        return self.at.timestamp()

    async def sleep(self, seconds: float) -> None:
        self.at += timedelta(seconds=seconds)


def world_of(seed: int, monkeypatch: pytest.MonkeyPatch, parts: Parts) -> World | None:
    """The world as it is when a run comes to its end; None if a check ended the run before."""
    worlds: list[World] = []
    monkeypatch.setattr(simulation, "violations", lambda world: worlds.append(world) or [])
    simulation.simulate(seed, parts=parts)
    if not worlds:
        return None
    # The run was over when its limits were lifted; its verifier keeps to them.
    kept = COMMAND_IDS_KEPT if worlds[0].clients.many else memory.COMMAND_IDS_KEPT
    monkeypatch.setattr(memory, "COMMAND_IDS_KEPT", kept)
    return worlds[0]


def verified(world: World) -> Report:
    async def find_definition(name: str, version: int) -> WorkflowDefinition | None:
        return SHELF.of(name, version)

    logs = world.broker.topic(topics.EVENTS).logs
    last = max(stored.timestamp for log in logs for stored in log.read(0, log.end))
    verifier = Verifier(
        MemoryStoreScan(world.log.stored, world.projections),
        MemoryPublishedEvents(world.broker),
        find_definition,
        Later(last + timedelta(hours=1)),
        world.catalog,
    )
    return asyncio.run(verifier.run(settle=timedelta(seconds=1)))


@pytest.mark.parametrize("seed", range(6))
def test_what_a_run_leaves_is_clean(seed: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """However often engines died and events were published again, nothing is missing and nothing differs."""
    world = world_of(seed, monkeypatch, Parts())
    assert world is not None
    report = verified(world)

    assert report.findings == []
    assert report.published >= report.events > 0


def test_projections_that_were_lost_are_found(monkeypatch: pytest.MonkeyPatch) -> None:
    """Where offsets went ahead of what was written, lists would stay behind for ever: some seed shows it."""
    parts = parts_of("offsets-before-append")

    worlds = (world_of(seed, monkeypatch, parts) for seed in range(60))
    reports = (verified(world) for world in worlds if world is not None)
    damaged = next(report for report in reports if not report.is_clean)

    assert {Kind.BEHIND, Kind.MISSING} & damaged.counts.keys()

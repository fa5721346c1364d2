"""Whoever was answered looks at once (PROTOCOL rule 20), and others look at lists (ADR 8)."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from adapters.memory.queries import MemoryWorkflowQueries
from application.codec.times import parse_time
from application.ports import Unavailable, WorkflowFilter
from application.queries import WorkflowReader
from tests.simulation.clock import SimulatedClock
from tests.simulation.definitions import FaultyDefinitions
from tests.simulation.faults import Network, Process
from tests.simulation.faulty_stores import FaultyEventLog, FaultyProjections
from tests.simulation.world import World

_SHARE = 0.05
#: Between two looks at the list.
_PAUSE_SECONDS = 0.5
_ALL = 1_000


class Readers:
    """Read workflows as the API does, right after some of their events were published."""

    def __init__(self, world: World) -> None:
        watch = world.watch
        self._dice: random.Random = world.chances.stream("readers")
        self._watch = watch
        self._reader = _reader(world, world.network)
        lists = Network(world.chances, world.network.weather, world.trace, "lists")
        self._list_reader = _reader(world, lists)
        self._reading: set[asyncio.Task[None]] = set()
        watch.on_published = self._look
        self._listing = world.run(self._look_at_lists())

    def _look(self, workflow_id: str, version: int) -> None:
        if self._dice.random() < _SHARE:
            task = asyncio.ensure_future(self._read(workflow_id, version))
            self._reading.add(task)
            task.add_done_callback(self._reading.discard)

    async def _read(self, workflow_id: str, version: int) -> None:
        try:
            document = await self._reader.get(workflow_id)
        except Unavailable:
            return
        self._watch.read(workflow_id, version, document["version"] if document else 0)

    async def _look_at_lists(self) -> None:
        while True:
            await asyncio.sleep(_PAUSE_SECONDS)
            try:
                page = await self._list_reader.find(WorkflowFilter(), _ALL, None)
            except Unavailable:
                continue
            shown = {item["id"]: item["version"] for item in page["items"]}
            self._watch.listed(parse_time(page["asOf"]), shown)

    def stop(self) -> None:
        self._listing.cancel()
        for task in self._reading:
            task.cancel()


def _reader(world: World, network: Network) -> WorkflowReader:
    """As the API has it."""
    process, watch = Process("api"), world.watch
    clock = SimulatedClock(process, network.weather, skew=timedelta())
    return WorkflowReader(
        FaultyEventLog(world.log, process, network),
        FaultyProjections(world.projections, process, network, watch),
        MemoryWorkflowQueries(world.projections),
        FaultyDefinitions(world.deployment, process, network, clock).get,
        clock,
    )

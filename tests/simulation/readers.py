"""Whoever was answered looks at once (PROTOCOL rule 20)."""

from __future__ import annotations

import asyncio
import random
from datetime import timedelta

from adapters.memory.queries import MemoryWorkflowQueries
from application.ports import Unavailable
from application.queries import WorkflowReader
from tests.simulation.clock import SimulatedClock
from tests.simulation.definitions import FaultyDefinitions
from tests.simulation.faults import Process
from tests.simulation.faulty_stores import FaultyEventLog, FaultyProjections
from tests.simulation.world import World

_SHARE = 0.05


class Readers:
    """Read workflows as the API does, right after some of their events were published."""

    def __init__(self, world: World) -> None:
        process = Process("api")
        network, watch = world.network, world.watch
        clock = SimulatedClock(process, network.weather, skew=timedelta())
        self._dice: random.Random = world.chances.stream("readers")
        self._watch = watch
        self._reader = WorkflowReader(
            FaultyEventLog(world.log, process, network),
            FaultyProjections(world.projections, process, network, watch),
            MemoryWorkflowQueries(world.projections),
            FaultyDefinitions(world.deployment, process, network, clock).get,
            clock,
        )
        self._reading: set[asyncio.Task[None]] = set()
        watch.on_published = self._look

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

    def stop(self) -> None:
        for task in self._reading:
            task.cancel()

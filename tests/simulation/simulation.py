"""Running a seed."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator
from dataclasses import dataclass
from unittest import mock

from conveyor import topics, types

from domain.position import TopicPartition
from domain.status import WorkflowStatus
from tests.simulation import loop
from tests.simulation.checks import Ledger, violations
from tests.simulation.nemesis import torment
from tests.simulation.trace import Trace
from tests.simulation.world import ENGINES, FAULT_SECONDS, Parts, World, quiet

#: Virtual seconds in which a healed world must come to rest.
REST_SECONDS = 240.0
_LOOK_SECONDS = 1.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a seed led to."""

    seed: int
    violations: list[str]
    trace: Trace
    #: status -> workflows
    ends: dict[str, int]
    virtual_seconds: float

    @property
    def command(self) -> str:
        return f"python -m tests.simulation --seed {self.seed} --trace"


def simulate(seed: int, *, keep_trace: bool = False, parts: Parts | None = None) -> Outcome:
    """One run of the world, from its first to its last moment."""
    trace = Trace(is_kept=keep_trace)
    parts = parts or Parts()
    with quiet(trace), contextlib.ExitStack() as patched:
        for owner, name, value in parts.patches:
            patched.enter_context(mock.patch.object(owner, name, value))
        return loop.run(_run(seed, trace, parts))


async def _run(seed: int, trace: Trace, parts: Parts) -> Outcome:
    world = World(seed, trace, parts)
    for _ in range(world.rng.choice((1, 2, 3))):
        world.start_engine()
    for name in ("floor", "floor", "bank"):
        world.start_worker(name)
    world.clients.schedule(world.rng.choice((3, 8, 12)), FAULT_SECONDS)
    await torment(world)
    world.heal()
    restless = await _come_to_rest(world)
    found = [*violations(world), *restless]
    ends: dict[str, int] = {}
    if not found:
        for instance in Ledger(world).instances.values():
            ends[instance.status] = ends.get(instance.status, 0) + 1
    return Outcome(seed, found, trace, ends, asyncio.get_running_loop().time())


async def _come_to_rest(world: World) -> list[str]:
    """Until nothing is under way, with an operator who looks after what waits for people."""
    clock = asyncio.get_running_loop()
    until = clock.time() + REST_SECONDS
    while clock.time() < until:
        await asyncio.sleep(_LOOK_SECONDS)
        if world.crashes:
            return []
        if _is_quiet(world) and not _operate(world):
            return []
    return [f"no rest within {REST_SECONDS} s: {', '.join(_unrest(world)) or 'operators busy'}"]


def _is_quiet(world: World) -> bool:
    return next(_unrest(world), None) is None


def _unrest(world: World) -> Iterator[str]:
    if world.network.in_flight:
        yield f"{world.network.in_flight} requests under way"
    groups: dict[str, tuple[str, ...]] = {ENGINES: (topics.COMMANDS, topics.REPLIES)}
    for name, services in (("floor", ("stock", "robots")), ("bank", ("money", "parcels"))):
        groups[name] = tuple(topics.step_requests(service) for service in services)
    for group, names in groups.items():
        committed = world.broker.group(group).committed
        for name in names:
            for partition, log in enumerate(world.broker.topic(name).logs):
                done = committed.get(TopicPartition(name, partition), 0)
                if done < log.end:
                    yield f"{group} is at {done} of {log.end} in {name}-{partition}"
    for document in world.projections.documents.values():
        if document.get("status") in (WorkflowStatus.EXECUTING, WorkflowStatus.COMPENSATING):
            yield f"{document['_id']} is {document['status']}"
        if document.get("unresolved"):
            yield f"{document['_id']} has unresolved steps"


def _operate(world: World) -> bool:
    """Resume what is paused; take back, or else try again, what failed. Says whether there was anything."""
    asked = False
    for document in list(world.projections.documents.values()):
        allowed = document.get("allowedCommands", ())
        command = None
        if document.get("status") == WorkflowStatus.PAUSED:
            command = types.RESUME
        elif document.get("status") == WorkflowStatus.FAILED:
            command = next(
                (f"orchestration.workflow.{c}" for c in ("compensate", "retry") if c in allowed),
                None,
            )
        if command is not None:
            world.clients.ask(document["_id"], command)
            asked = True
    return asked

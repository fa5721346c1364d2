"""Running a seed."""

from __future__ import annotations

import asyncio
import contextlib
import traceback
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import Any
from unittest import mock

from conveyor import topics, types

from adapters.memory import virtual_time
from application.ports import SetupError
from domain.aggregate.position import TopicPartition
from domain.workflow.status import StepStatus, WorkflowStatus
from tests.simulation.chances import Chances, Kind, Plan
from tests.simulation.checks import Ledger, violations
from tests.simulation.nemesis import torment
from tests.simulation.quiet import Limits, limits, quiet
from tests.simulation.readers import Readers
from tests.simulation.trace import Trace
from tests.simulation.world import DESK, ENGINES, FAULT_SECONDS, SESSION_SECONDS, Parts, World

#: Virtual seconds in which a healed world must come to rest.
REST_SECONDS = 240.0
_LOOK_SECONDS = 1.0
#: A workflow that is started while some topic refuses messages, and how often we look for an answer of its step.
PROBE = "probe"
GOING_ON_LOOKS = 90
#: Of how many runs an inbox topic is deleted and made anew in the end.
_RECREATING = 0.05
#: After so long nobody is still busy with anything that began before the world healed.
_SETTLED_SECONDS = 10.0


@dataclass(frozen=True, slots=True)
class Outcome:
    """What a seed led to."""

    seed: int
    plan: Plan
    violations: list[str]
    trace: Trace
    #: status -> workflows
    ends: dict[str, int]
    virtual_seconds: float
    #: Fault points, what struck there by kind and by number, and single comparisons.
    points: int = 0
    struck: dict[str, int] = field(default_factory=dict[str, int])
    kinds: dict[int, Kind] = field(default_factory=dict[int, Kind])
    checks: int = 0
    #: Names of the workflows that were there.
    workflows: int = 0

    @property
    def command(self) -> str:
        return command(self.seed, self.plan)


def command(seed: int, plan: Plan, mutant: str | None = None) -> str:
    """What replays a run, from the root of the repository after `make setup`."""
    options = [f"--seed {seed}", *([f"--mutant {mutant}"] if mutant else []), *plan.options]
    return f".venv/bin/python -m tests.simulation {' '.join(options)} --trace"


def simulate(
    seed: int, *, keep_trace: bool = False, parts: Parts | None = None, plan: Plan | None = None
) -> Outcome:
    """One run of the world, from its first to its last moment; never raises, so that a bug has its seed too."""
    trace = Trace(is_kept=keep_trace)
    parts, plan = parts or Parts(), plan or Plan()
    # Of a few seeds the engines keep few command ids, and are sent many commands.
    chances = Chances(seed, plan, trace)
    many = chances.stream("many").random() < MANY_COMMANDS
    heavy = chances.stream("heavy").random() < HEAVY_UNDOS
    try:
        with (
            quiet(trace),
            limits(chances, many=many, heavy=heavy) as limited,
            contextlib.ExitStack() as patched,
        ):
            for owner, name, value in parts.patches:
                patched.enter_context(mock.patch.object(owner, name, value, create=True))
            world_of = partial(World, chances, trace, parts, plan, many=many, heavy=heavy)
            return virtual_time.run(_run(seed, world_of, plan, limited))
    except Exception as bug:  # noqa: BLE001 - a standstill, or a bug of the simulation itself
        return _broken_off(seed, chances, plan, bug)


def _broken_off(seed: int, chances: Chances, plan: Plan, bug: Exception) -> Outcome:
    place = traceback.extract_tb(bug.__traceback__)[-1]
    says = (
        f"the run broke off: {bug!r} in {place.name} ({Path(place.filename).name}:{place.lineno})"
    )
    chances.trace.end(f"WRONG: {says}")
    return Outcome(
        seed=seed,
        plan=plan,
        violations=[says],
        trace=chances.trace,
        ends={},
        virtual_seconds=0.0,
        points=chances.points,
        struck=dict(chances.struck),
        kinds=chances.kinds,
    )


#: How many of the seeds send more commands to a workflow than their engines keep the ids of.
MANY_COMMANDS = 0.2
#: How many of the seeds have workflows whose undos repeat much of what was done.
HEAVY_UNDOS = 0.25


async def _run(seed: int, world_of: Callable[[], World], plan: Plan, limited: Limits) -> Outcome:
    world = world_of()
    chances, trace = world.chances, world.trace
    world.watch.bounds = limited.bounds
    world.decide = limited.decide
    asyncio.get_running_loop().set_exception_handler(partial(_note_crash, world))
    readers = Readers(world)
    workflows = world.dice.choice((3, 8, 12))
    for _ in range(world.dice.choice((1, 2, 3))):
        world.start_engine()
    for name in ("floor", "floor", "bank", *(("bank", DESK, DESK) if world.is_leased else ())):
        world.start_worker(name)
    world.clients.schedule(workflows, FAULT_SECONDS, world.deployment.at)
    world.refusals.schedule()
    await torment(world)
    world.heal()
    # What was found first ends a run; the rest of it may only follow from that.
    found = _noted(trace, await _go_on_without(world))
    if not found:
        restless = await _come_to_rest(world)
        found = world.watch.violations[:3] or _noted(trace, [*_at_the_end(world), *restless])
    readers.stop()
    ends: dict[str, int] = {}
    if not found:
        if world.dice.random() < _RECREATING:
            found = _noted(trace, await _works_on_another_topic(world))
        for instance in Ledger(world).instances.values():
            ends[instance.status] = ends.get(instance.status, 0) + 1
    return Outcome(
        seed=seed,
        plan=plan,
        violations=found,
        trace=trace,
        ends=ends,
        virtual_seconds=asyncio.get_running_loop().time(),
        points=chances.points,
        struck=dict(chances.struck),
        kinds=chances.kinds,
        checks=world.watch.checks,
        workflows=workflows,
    )


def _noted(trace: Trace, found: list[str]) -> list[str]:
    for each in found:
        trace.note("check", f"WRONG: {each}")
    return found


def _at_the_end(world: World) -> list[str]:
    try:
        return violations(world)
    except Exception as fault:  # noqa: BLE001 - whatever a log that makes no sense leads to
        return [f"the log cannot be read: {fault!r}"]


async def _works_on_another_topic(world: World) -> list[str]:
    """An engine that finds an inbox topic recreated refuses to work (PROTOCOL rule 11)."""
    for engine in list(world.engines):
        world.kill_engine(engine)
    await asyncio.sleep(SESSION_SECONDS)
    world.broker.recreate(topics.COMMANDS)
    task = world.start_engine().task
    await asyncio.wait([task], timeout=SESSION_SECONDS)
    if task.done() and isinstance(task.exception(), SetupError):
        return []
    return ["an engine works on though the topic of commands was recreated"]


async def _go_on_without(world: World) -> list[str]:
    """While a topic still refuses everything, whatever does not need it goes on (ADR 24): a step is answered."""
    refusing = world.refusals.lasting
    if refusing is None:
        return []
    # Its first step is of another service.
    definition = "heavy" if refusing == topics.step_requests("stock") else "held"
    world.clients.start(PROBE, definition)
    for _ in range(GOING_ON_LOOKS):
        if _is_answered(world, PROBE) or world.watch.violations:
            break
        await asyncio.sleep(_LOOK_SECONDS)
    else:
        return [f"nothing came of {PROBE} while {refusing} refused messages"]
    await asyncio.sleep(world.refusals.lasting_seconds)
    world.refusals.end(refusing)
    return []


def _is_answered(world: World, workflow_id: str) -> bool:
    """A participant has done something for it, or refused to."""
    instance = world.watch.instances.get(workflow_id)
    return instance is not None and any(
        s.error or s.is_done or s.status is StepStatus.COMPENSATED for s in instance.steps.values()
    )


def _note_crash(world: World, _: asyncio.AbstractEventLoop, context: dict[str, Any]) -> None:
    """What a server does when a request lands must not fail."""
    if "handle" in context:
        world.crashes.append(context["exception"])


async def _come_to_rest(world: World) -> list[str]:
    """Until nothing is under way, with an operator who looks after what waits for people."""
    clock = asyncio.get_running_loop()
    healed = clock.time()
    while clock.time() < healed + REST_SECONDS:
        await asyncio.sleep(_LOOK_SECONDS)
        if world.crashes or world.watch.violations:
            return []
        if clock.time() > healed + _SETTLED_SECONDS:
            for keys in world.keys.values():
                keys.clear_up(world.desks.on_offer)
        if _is_quiet(world) and not _operate(world):
            # What serves readers only is written a moment after the projection.
            await asyncio.sleep(_LOOK_SECONDS)
            return []
    return [f"no rest within {REST_SECONDS} s: {', '.join(_unrest(world)) or 'operators busy'}"]


def _is_quiet(world: World) -> bool:
    return next(_unrest(world), None) is None


def _unrest(world: World) -> Iterator[str]:
    if world.network.in_flight:
        yield f"{world.network.in_flight} requests under way"
    groups: dict[str, tuple[str, ...]] = {ENGINES: (topics.COMMANDS, topics.REPLIES)}
    for name, services in world.participants.items():
        groups[name] = tuple(topics.step_requests(service) for service in services)
    for group, names in groups.items():
        committed = world.broker.group(group).committed
        for name in names:
            for partition, log in enumerate(world.broker.topic(name).logs):
                done = committed.get(TopicPartition(name, partition), 0)
                if done < log.end:
                    yield f"{group} is at {done} of {log.end} in {name}-{partition}"
    for document in world.projections.documents.values():
        if "status" not in document and document.get("nextTimerAt") is not None:
            yield f"{document['_id']} has a timer"
        if document.get("status") in (WorkflowStatus.EXECUTING, WorkflowStatus.COMPENSATING):
            yield f"{document['_id']} is {document['status']}"
        waits = document.get("status") in (WorkflowStatus.FAILED, WorkflowStatus.PAUSED)
        if document.get("unresolved") and not waits:
            yield f"{document['_id']} has unresolved steps"


def _way_out(world: World, allowed: Sequence[str]) -> str | None:
    """By force only where nothing else is possible."""
    ways = [command for command in ("compensate", "retry") if command in allowed]
    if not ways and "force-compensate" not in allowed:
        return None
    return f"orchestration.workflow.{world.dice.choice(ways or ['force-compensate'])}"


def _operate(world: World) -> bool:
    """Resume what is paused; take back, or else try again, what failed. Says whether there was anything."""
    asked = False
    for document in list(world.projections.documents.values()):
        allowed = document.get("allowedCommands", ())
        command = None
        if document.get("status") == WorkflowStatus.PAUSED:
            command = types.RESUME
        elif document.get("status") == WorkflowStatus.FAILED:
            command = _way_out(world, allowed)
        if command is not None:
            world.clients.ask(document["_id"], command)
            asked = True
    return asked

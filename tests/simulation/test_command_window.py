"""A copy of a command is the same command however late it comes (PROTOCOL rule 9)."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from datetime import timedelta
from unittest import mock

import orjson
from conveyor import types
from conveyor.messages import Message
from conveyor.times import rfc3339

from adapters.memory import virtual_time
from application.engine import memory
from domain.aggregate.kind import Moment
from domain.workflow.commands import Command
from domain.workflow.decide import Decision, decide
from domain.workflow.instance import WorkflowInstance
from tests.messages import message_of
from tests.simulation.chances import Chances, Plan
from tests.simulation.clock import virtual_now
from tests.simulation.trace import Trace
from tests.simulation.world import Parts, World


def _command(number: int, command_type: str, data: Mapping[str, object], seconds: float) -> Message:
    """Sent now, by a producer whose clock is off by so much."""
    time = rfc3339(virtual_now() + timedelta(seconds=seconds))
    return message_of(command_type, orjson.dumps(data), "order", id=f"m{number}", time=time)


def _world(seed: int) -> World:
    """One engine, nothing that fails; of the seed is how many messages it takes at once."""
    trace = Trace(is_kept=False)
    world = World(Chances(seed, Plan(), trace), trace, Parts(), Plan())
    world.network.weather.clear()
    world.start_engine()
    return world


async def _sent(world: World, *messages: Message) -> None:
    for message in messages:
        world.broker.append(message)
        await asyncio.sleep(1.0)


def _times_decided(world: World, message: Message) -> int:
    return sum(
        entry.message_id == message.message_id
        for commit in world.log.stored._commits.values()
        for entry in commit.entries
    )


def test_a_copy_is_known_whatever_the_clocks_of_other_producers_say() -> None:
    """An id that left the window is found in the log, also when later commands bear earlier times."""

    async def scenario() -> int:
        world = _world(0)
        signal = {"name": "hello"}
        start = _command(0, types.START, {"definition": "held", "input": {"order": "o"}}, 0.0)
        first = _command(1, types.SIGNAL, signal, 0.0)
        later = [_command(number, types.SIGNAL, signal, -3600.0) for number in range(2, 7)]

        await _sent(world, start, first, *later, first)

        return _times_decided(world, first)

    with mock.patch.object(memory, "COMMAND_IDS_KEPT", 3):
        assert virtual_time.run(scenario()) == 1


def test_a_copy_is_known_that_comes_behind_what_drives_it_from_the_window() -> None:
    """An id that is in the window when a batch begins may have left it when its copy's turn comes."""

    async def scenario(seed: int) -> int:
        world = _world(seed)
        signal = {"name": "hello"}
        start = _command(0, types.START, {"definition": "held", "input": {"order": "o"}}, 0.0)
        first = _command(1, types.SIGNAL, signal, 0.0)
        later = [_command(number, types.SIGNAL, signal, 0.0) for number in range(2, 5)]
        await _sent(world, start, first)

        for message in (*later, first):
            world.broker.append(message)
        await asyncio.sleep(1.0)

        return _times_decided(world, first)

    with mock.patch.object(memory, "COMMAND_IDS_KEPT", 3):
        assert [virtual_time.run(scenario(seed)) for seed in range(20)] == [1] * 20


def test_a_refused_command_stays_refused_however_late_its_copy_comes() -> None:
    """More refusals than the window holds came behind it, and its workflow has started meanwhile (PROTOCOL P7)."""

    async def scenario() -> int:
        world = _world(0)
        signal = {"name": "hello"}
        first, *later = [_command(number, types.SIGNAL, signal, 0.0) for number in range(1, 7)]
        start = _command(7, types.START, {"definition": "held", "input": {"order": "o"}}, 0.0)

        await _sent(world, first, *later, start, first)

        return _times_decided(world, first)

    with mock.patch.object(memory, "COMMAND_IDS_KEPT", 3):
        assert virtual_time.run(scenario()) == 1


def test_a_copy_of_a_start_is_known_though_it_cannot_be_decided_any_more() -> None:
    """A bug that came with a newer version does not refuse what an older one has accepted."""

    async def scenario() -> int:
        world = _world(0)
        world.heal()
        start = _command(0, types.START, {"definition": "held", "input": {"order": "o"}}, 0.0)
        await _sent(world, start)
        # It completes, is projected, and leaves the memory.
        await asyncio.sleep(10.0)
        with mock.patch.object(world, "decide", _decide_no_start):
            await _sent(world, start)

        return _times_decided(world, start)

    assert virtual_time.run(scenario()) == 1


def _decide_no_start(instance: WorkflowInstance | None, command: Command, at: Moment) -> Decision:
    if instance is None:
        raise ZeroDivisionError("a bug in starting")
    return decide(instance, command, at)

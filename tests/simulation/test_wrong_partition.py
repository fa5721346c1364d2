"""A message on a partition that is not its workflow's is sent on, but not for ever (PROTOCOL rule 17)."""

from __future__ import annotations

import asyncio

import pytest
from conveyor import topics, types

from adapters.memory import virtual_time
from tests.messages import message_of
from tests.simulation.chances import Chances, Plan
from tests.simulation.trace import Trace
from tests.simulation.world import Parts, World


def _world() -> World:
    """Several partitions, and nothing that fails."""
    for seed in range(100):
        trace = Trace(is_kept=False)
        world = World(Chances(seed, Plan(), trace), trace, Parts(), Plan())
        if world.broker.partitions > 1:
            world.heal()
            return world
    raise AssertionError("no seed has several partitions")


@pytest.mark.parametrize(("hops", "is_applied"), [(None, True), (b"1", True), (b"2", False)])
def test_after_two_hops_it_is_a_dead_letter(hops: bytes | None, is_applied: bool) -> None:
    """Producers whose partitioners disagree must not send a message round in circles."""

    async def scenario() -> tuple[bool, list[bytes]]:
        world = _world()
        start = message_of(
            types.START,
            b'{"definition":"held","input":{"order":"o"}}',
            "order",
            headers={} if hops is None else {"hops": hops},
            partition=(world.partition_of("order") + 1) % world.broker.partitions,
        )
        world.broker.append(start)
        await asyncio.sleep(5.0)
        dead = [
            dict(stored.record.headers)["dlq-reason"]
            for log in world.broker.topic(topics.DEAD_LETTER).logs
            for stored in log.read(0, log.end)
        ]
        return "order" in world.watch.instances, dead

    assert virtual_time.run(scenario()) == (is_applied, [] if is_applied else [b"WRONG_PARTITION"])

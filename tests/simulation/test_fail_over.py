"""A commit that refused another one may itself be lost (PROTOCOL rule 14)."""

from __future__ import annotations

import asyncio

from conveyor import topics, types

from adapters.memory import virtual_time
from application.ports import Commit, Entry
from domain.aggregate.position import Position
from tests.contracts.samples import event as sample
from tests.messages import message_of
from tests.simulation.chances import Chances, Plan
from tests.simulation.trace import Trace
from tests.simulation.world import Parts, World


def test_what_a_lost_commit_refused_is_decided_again() -> None:
    """An engine waits to see what forestalled it; when the store fails over, that is never to be seen."""

    async def scenario() -> bool:
        trace = Trace(is_kept=False)
        world = World(Chances(0, Plan(), trace), trace, Parts(), Plan())
        world.heal()
        partition = world.partition_of("order")
        cause = Position("other#1", topics.COMMANDS, partition, 0, 0)
        event = sample("order", 1)
        lost = Commit("order", 1, partition, (Entry(cause, "/other m1", (event,)),))
        world.log.hold_back(lost)
        start = b'{"definition":"held","input":{"order":"o"}}'
        world.broker.append(message_of(types.START, start, "order"))
        await asyncio.sleep(2.0)
        assert world.log.fail_over() == 1
        await asyncio.sleep(30.0)
        return "order" in world.watch.instances

    assert virtual_time.run(scenario())

"""A new kind of aggregate is served by the engine as it is: decided, sent on, taken over, verified."""

from __future__ import annotations

from collections import Counter
from datetime import timedelta

from adapters.memory.event_log import MemoryEventLog
from adapters.memory.verification import MemoryPublishedEvents, MemoryStoreScan
from application.aggregates.catalog import CATALOG
from application.codec.internal import signed_with
from application.verification.verifier import Verifier
from domain.definition.definition import WorkflowDefinition
from infrastructure.clock import SystemClock
from tests.application.installation import Installation
from tests.batons import BATON, RUNNERS, BatonPassed, start_gun
from tests.waiting import until

LAPS = 4


def passed(log: MemoryEventLog) -> Counter[int]:
    """How often each lap was run to its end."""
    return Counter(
        event.data["laps"]
        for commit in log.in_order()
        for entry in commit.entries
        for event in entry.events
        if event.type == BatonPassed.TYPE
    )


async def no_definition(_name: str, _version: int) -> WorkflowDefinition | None:
    return None


async def test_runners_pass_a_baton_through_a_take_over() -> None:
    """Their sends and timers go on with the next engine; every lap is run once, and the store is clean."""
    installation = Installation(partitions=2, catalog=CATALOG.extended(BATON))
    await installation.initialise()
    engine = installation.engine("first")
    installation.broker.append(start_gun(signed_with(b"secret"), LAPS, SystemClock().now()))
    await until(lambda: passed(installation.log)[LAPS] == 1)

    # It dies: nothing more is projected, and its group finds out.
    engine.task.cancel()
    installation.broker.group("engines").expel("first")
    following = installation.engine("second")
    await until(lambda: passed(installation.log)[1] == 1)
    await until(lambda: installation.projections.documents[RUNNERS[0]]["nextTimerAt"] is None)
    following.processor.stop()
    await following.task

    assert passed(installation.log) == dict.fromkeys(range(1, LAPS + 1), 1)
    verifier = Verifier(
        MemoryStoreScan(installation.log, installation.projections),
        MemoryPublishedEvents(installation.broker),
        no_definition,
        SystemClock(),
        installation.catalog,
    )
    report = await verifier.run(timedelta(seconds=5))
    assert report.findings == []
    assert report.instances == len(RUNNERS) + 2

"""How often states are projected."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from datetime import datetime, timedelta

import pytest
from conveyor.times import rfc3339

from adapters.memory.projections import MemoryProjections
from adapters.memory.virtual_time import drive
from application.ports import Document, Unavailable, WorkflowFilter
from infrastructure.clock import SystemClock
from tests.application.installation import DEFINITION, Installation
from tests.waiting import eventually, until

#: As many as take more than a second at the highest rate.
MANY = 750


class Rounds(MemoryProjections):
    """Notes when how many workflows were written."""

    def __init__(self) -> None:
        super().__init__()
        self.written: list[tuple[float, int]] = []
        #: No workflow can be written.
        self.is_full = False

    async def save(self, documents: Sequence[Document]) -> None:
        workflows = [document for document in documents if "status" in document]
        if workflows and self.is_full:
            raise Unavailable("eventStore", "no space left")
        self.written.append((asyncio.get_running_loop().time(), len(workflows)))
        await super().save(documents)

    @property
    def total(self) -> int:
        return sum(count for _, count in self.written)


@pytest.fixture
async def installation() -> AsyncIterator[Installation]:
    installation = Installation(partitions=1)
    installation.projections = Rounds()
    await installation.initialise()
    installation.registered = DEFINITION
    yield installation
    for engine in installation.engines:
        engine.processor.stop()
        await engine.task


async def projecting_many(installation: Installation) -> Rounds:
    """An engine has just written so much that its next round comes late."""
    rounds = installation.projections
    assert isinstance(rounds, Rounds)
    for number in range(MANY):
        installation.start_workflow(f"m{number}", f"wf-{number}")
    installation.engine("engine", projection_interval_ms=20)
    await until(lambda: rounds.total == MANY)
    return rounds


async def test_after_many_documents_the_next_round_waits(installation: Installation) -> None:
    """They are written at no more than 700 a second, of which half is left to a busy machine."""
    rounds = await projecting_many(installation)
    written_at, count = max(rounds.written, key=lambda each: each[1])

    installation.start_workflow("late", "late")
    await until(lambda: rounds.total == MANY + 1)

    assert rounds.written[-1][0] - written_at >= count / 700 / 2


async def test_a_list_says_how_old_it_is(installation: Installation) -> None:
    """What was decided before `asOf` is in it, also while rounds come seldom."""
    rounds = await projecting_many(installation)
    installation.start_workflow("late", "late")
    await until(lambda: any(c.aggregate_id == "late" for c in installation.log.in_order()))
    [late] = [c for c in installation.log.in_order() if c.aggregate_id == "late"]
    decided_at = late.entries[0].events[0].head.occurred_at

    pages: list[Document] = []
    while "late" not in rounds.documents:
        pages.append(await installation.reader().find(WorkflowFilter(), 1, None))
        await asyncio.sleep(0)

    assert max(page["asOf"] for page in pages) <= decided_at


async def test_the_list_of_an_idle_installation_is_of_now(installation: Installation) -> None:
    """But for the second that a change may take."""
    rounds = installation.projections
    assert isinstance(rounds, Rounds)
    installation.start_workflow("m1", "wf-1")
    installation.engine("engine", projection_interval_ms=20)
    await until(lambda: rounds.total == 1)

    async def is_of_now() -> bool:
        before = SystemClock().now()
        page = await installation.reader().find(WorkflowFilter(), 1, None)
        return page["asOf"] >= rfc3339(before - timedelta(seconds=1))

    assert await eventually(is_of_now)


async def test_a_list_does_not_hide_what_a_dead_engine_left(installation: Installation) -> None:
    """It decided something and died before its next round, so it left no mark of it."""
    engine = installation.engine("engine", projection_interval_ms=60_000)
    await until(lambda: is_idle(installation))
    installation.start_workflow("late", "late")
    await until(lambda: any(c.aggregate_id == "late" for c in installation.log.in_order()))
    engine.task.cancel()
    installation.engines.clear()
    [late] = [c for c in installation.log.in_order() if c.aggregate_id == "late"]

    page = await installation.reader(Later()).find(WorkflowFilter(), 10, None)

    assert page["items"] == []
    assert page["asOf"] <= late.entries[0].events[0].head.occurred_at


async def test_a_list_does_not_hide_what_cannot_be_written(installation: Installation) -> None:
    """The log has it, and the engine begins again and again."""
    rounds = installation.projections
    assert isinstance(rounds, Rounds)
    rounds.is_full = True
    engine = installation.engine("engine")
    installation.start_workflow("late", "late")
    await until(lambda: engine.telemetry.counts.get("restarts", 0) > 2)
    [late] = [c for c in installation.log.in_order() if c.aggregate_id == "late"]

    page = await installation.reader(Later()).find(WorkflowFilter(), 10, None)

    assert page["items"] == []
    assert page["asOf"] <= late.entries[0].events[0].head.occurred_at
    rounds.is_full = False


class Later(SystemClock):
    """The clock of a reader that comes when some time has passed."""

    def now(self) -> datetime:
        return super().now() + timedelta(seconds=30)


def is_idle(installation: Installation) -> bool:
    """An engine has said that nothing waits."""
    return [mark.until for mark in drive(installation.projections.marks())] == [None]

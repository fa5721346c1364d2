"""A wall clock that is set while the engine runs: intervals and waits go by the monotonic clock."""

from __future__ import annotations

import asyncio
from datetime import datetime, timedelta

import pytest

from infrastructure.clock import SystemClock
from tests.application.installation import DEFINITION, Installation
from tests.waiting import until


class JumpingClock(SystemClock):
    """The machine's clock, which somebody sets."""

    ahead = timedelta()

    def now(self) -> datetime:
        return super().now() + self.ahead


@pytest.mark.parametrize("hours", [-1, 1])
async def test_projections_and_stopping_do_not_wait_for_the_clock(hours: int) -> None:
    """What is decided after the jump is projected and committed at once, and `stop` ends the engine."""
    installation, clock = Installation(partitions=1), JumpingClock()
    await installation.initialise()
    installation.registered = DEFINITION
    engine = installation.engine("engine", clock=clock)
    installation.start_workflow("m1", "wf-1")
    await until(lambda: installation.is_done(1))
    behind_first = installation.committed()

    clock.ahead = timedelta(hours=hours)
    installation.start_workflow("m2", "wf-2")
    async with asyncio.timeout(10):
        await until(lambda: installation.committed() > behind_first)
        engine.processor.stop()
        await engine.task

    assert (await installation.projections.load(["wf-2"])).keys() == {"wf-2"}

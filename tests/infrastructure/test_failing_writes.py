"""A whole embedded service whose writes fail now and then, at random."""

from __future__ import annotations

import asyncio
import sqlite3
from datetime import timedelta
from pathlib import Path
from random import Random

import pytest
from conveyor import topics
from conveyor.messages import Message

from adapters.sqlite.writer import Group, Writer
from application.ports import Unavailable
from bench.recipes.embedded_site import embedded_site, engine, participant
from bench.recipes.load import MAY_END, Ending, Load, Phase, ending
from infrastructure.settings import load_settings
from infrastructure.verification import verify_embedded
from infrastructure.wiring import Embedded

WORKFLOWS = 40
SPREAD_SECONDS = 1.0
#: At most; how many there are depends on how writes gather.
FAILURES = 12
FAILING_SHARE = 0.1
COMPENSATED_SHARE = 0.25
_DEADLINE_SECONDS = 50.0


class Failing:
    """Lets some groups fail, beside others and alone."""

    def __init__(self, rng: Random, writer: Writer) -> None:
        self._rng = rng
        self._execute = writer._execute_all
        self._seen: list[Group] = []
        self.failed: list[Group] = []
        writer._execute_all = self._execute_or_fail

    def _execute_or_fail(self, group: Group) -> list[int]:
        if not any(group is each for each in self._seen):
            self._seen.append(group)
            if len(self.failed) < FAILURES and self._rng.random() < FAILING_SHARE:
                self.failed.append(group)
        if any(group is each for each in self.failed):
            raise sqlite3.OperationalError("disk I/O error")
        return self._execute(group)


async def order_all(mode: Embedded, phase: Phase, rng: Random) -> dict[str, Ending]:
    """Start every workflow, again until it is taken; answers how each has ended."""
    events = mode.store.consumer({await mode.store.topic(topics.EVENTS): 0})
    ended: dict[str, Ending] = {}

    async def start(message: Message, after_seconds: float) -> None:
        await asyncio.sleep(after_seconds)
        while True:
            try:
                await mode.backbone.publisher.publish([message])
            except Unavailable:
                await asyncio.sleep(0.05)
            else:
                return

    starts = [
        Message(
            topic=topics.COMMANDS,
            key=each.workflow_id,
            type="orchestration.workflow.start",
            source="/test",
            id=each.workflow_id,
            data=each.data,
        )
        for each in phase.due()
    ]
    async with asyncio.timeout(_DEADLINE_SECONDS), asyncio.TaskGroup() as group:
        for message in starts:
            # Spread, so that there are many small groups.
            group.create_task(start(message, rng.uniform(0, SPREAD_SECONDS)))
        while len(ended) < len(starts):
            for _, batches in await events.take(1000, 1.0):
                for record in (record for batch in batches for record in batch.records):
                    if isinstance(record, Message) and record.type in MAY_END:
                        end = ending(record.type, record.data)
                        if end is not None and record.key is not None:
                            ended[record.key] = end
    return ended


@pytest.mark.parametrize("seed", range(3))
async def test_writes_that_fail_cost_time_only(tmp_path: Path, seed: int) -> None:
    """Whatever fails, of engine, participant or client: all workflows end as ordered, and the file is sound."""
    rng = Random(seed)
    load = Load(workflows=WORKFLOWS, in_flight=WORKFLOWS, compensate_share=COMPENSATED_SHARE)
    path = tmp_path / "conveyor.db"
    settings = load_settings()

    async with embedded_site(path, [engine(settings)]) as site:
        await site.mode.store.topic(topics.EVENTS)
        failing = Failing(rng, site.mode.store._writer)
        site.run(participant)
        ended = await order_all(site.mode, Phase("order-", load), rng)
        await site.stop()
    report = await verify_embedded(path, timedelta(0))

    assert any(group.is_shown for group in failing.failed)
    ends = list(ended.values())
    assert (ends.count(Ending.COMPENSATED), len(ends)) == (WORKFLOWS * COMPENSATED_SHARE, WORKFLOWS)
    assert Ending.FAILED not in ends
    assert report.findings == []

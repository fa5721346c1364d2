"""The timers of a partition in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from application.definitions import compile_definition
from application.engine.hot import Hot, Memory, Partition
from domain.workflow.commands import StartWorkflow
from domain.workflow.decide import Decided, decide
from domain.workflow.events import StartFacts
from tests.documents import document, step

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEFINITION = compile_definition(document(step("reserve", timeoutMs=300_000)))


def started(workflow_id: str, now: datetime = NOW) -> Hot:
    """A workflow whose first timer is minutes ahead."""
    facts = StartFacts(definition=DEFINITION, input={"order": "1"})
    decided = decide(None, StartWorkflow(workflow_id=workflow_id, facts=facts), now)
    assert isinstance(decided, Decided)
    return Hot(decided.instance, Memory(), projected=decided.instance.version)


def sent(partition: Partition, now: datetime) -> list[str]:
    return [hot.instance.id for hot, _ in partition.take_due(now, timedelta(seconds=5))]


def test_timers_of_what_has_left_the_memory_are_not_kept() -> None:
    """However often workflows are read and forgotten before that, only those of the present ones are."""
    partition = Partition(0)
    passing = started("passing")

    most = 0
    for _ in range(10_000):
        partition.put(replace(passing))
        partition.forget("passing")
        most = max(most, len(partition._heap))

    assert most < 1_100


def test_each_timer_comes_once_however_often_its_workflow_was_read() -> None:
    """What is in memory is sent when it is due, in order, and again only after the wait."""
    partition = Partition(0)
    early, late = started("early"), started("late", NOW + HOUR)
    for _ in range(2_000):
        partition.put(replace(early))
        partition.put(replace(late))
    partition.forget("late")
    partition.put(replace(late))

    due = early.next_send()
    assert due is not None
    assert partition.next_timer() == due
    assert sent(partition, due) == ["early"]
    assert sent(partition, due) == []
    assert sent(partition, due + HOUR) == ["early", "late"]

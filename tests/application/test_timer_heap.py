"""The timers of a partition in memory."""

from __future__ import annotations

from dataclasses import replace
from datetime import UTC, datetime, timedelta

from application.aggregates.workflow import WORKFLOW
from application.codec.internal import signed_with
from application.definitions import compile_definition
from application.engine.hot import Hot
from application.engine.memory import Memory
from application.engine.partition import Partition
from application.engine.watchers import TimerHeap
from domain.aggregate.kind import Decided, Moment
from domain.workflow.commands import StartWorkflow
from domain.workflow.decide import decide
from domain.workflow.events import StartFacts
from tests.documents import document, step

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
HOUR = timedelta(hours=1)
DEFINITION = compile_definition(document(step("reserve", timeoutMs=300_000)))


def started(workflow_id: str, now: datetime = NOW) -> Hot:
    """A workflow whose first timer is minutes ahead."""
    facts = StartFacts(definition=DEFINITION, input={"order": "1"})
    decided = decide(None, StartWorkflow(workflow_id=workflow_id, facts=facts), Moment(now))
    assert isinstance(decided, Decided)
    return Hot(WORKFLOW, decided.state, Memory(), projected=decided.state.version)


def watched() -> tuple[Partition, TimerHeap]:
    heap = TimerHeap(signed_with(b"secret"), timedelta(seconds=5))
    return Partition(0, (heap,)), heap


def sent(heap: TimerHeap, now: datetime) -> list[str | None]:
    """Whose timers were sent."""
    return list(dict.fromkeys(message.key for message in heap.due(now)))


def test_timers_of_what_has_left_the_memory_are_not_kept() -> None:
    """However often workflows are read and forgotten before that, only those of the present ones are."""
    partition, heap = watched()
    passing = started("passing")

    most = 0
    for _ in range(10_000):
        partition.put(replace(passing))
        partition.forget("passing")
        most = max(most, len(heap._heap))

    assert most < 1_100


def test_each_timer_comes_once_however_often_its_workflow_was_read() -> None:
    """What is in memory is sent when it is due, in order, and again only after the wait."""
    partition, heap = watched()
    early, late = started("early"), started("late", NOW + HOUR)
    for _ in range(2_000):
        partition.put(replace(early))
        partition.put(replace(late))
    partition.forget("late")
    partition.put(replace(late))

    due = WORKFLOW.kind.next_due(early.state)
    assert due is not None
    assert heap.next_due() == due
    assert sent(heap, due) == ["early"]
    assert sent(heap, due) == []
    assert sent(heap, due + HOUR) == ["early", "late"]

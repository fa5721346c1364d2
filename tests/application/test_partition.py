"""What a partition still has to project."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

from application.aggregates.workflow import WORKFLOW
from application.definitions import compile_definition
from application.engine.hot import Hot
from application.engine.memory import Memory
from application.engine.partition import Partition
from tests.documents import document, step
from tests.domain.sagas import Saga

_NOON = datetime(2026, 11, 30, 12, tzinfo=UTC)


def read(*, projected: int) -> Hot:
    """A workflow of version 2 as the stores have it."""
    instance = Saga(compile_definition(document(step("reserve")))).starts().instance
    assert instance.version == 2
    return Hot(WORKFLOW, instance, Memory(), projected)


def test_what_is_read_again_after_a_conflict_is_in_the_next_round() -> None:
    """Else that round's mark would promise lists a change that a later round writes (ADR 8)."""
    partition = Partition(0)
    hot = read(projected=0)
    partition.put(hot)
    partition.changed(hot.id)
    partition.age(_NOON)
    assert partition.complete_until(_NOON + timedelta(seconds=1)) is not None

    partition.forget(hot.id)
    partition.put_back(hot)

    assert partition.aging == {hot.id}


def test_what_the_projection_has_is_not_written_again() -> None:
    partition = Partition(0)

    partition.put_back(read(projected=2))

    assert not partition.is_behind()

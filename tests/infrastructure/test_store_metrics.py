"""The metrics that are counted in the stores."""

from __future__ import annotations

import pytest
from prometheus_client import CollectorRegistry

from adapters.memory.projections import MemoryProjections
from adapters.memory.queries import MemoryWorkflowQueries
from application.ports import Unavailable
from infrastructure.store_metrics import StoreMetrics
from tests.contracts.samples import workflow


class Queries(MemoryWorkflowQueries):
    """A store that may be away."""

    is_away = False

    async def open_incidents(self) -> int:
        if self.is_away:
            raise Unavailable("eventStore", "no answer")
        return await super().open_incidents()


@pytest.fixture
def projections() -> MemoryProjections:
    return MemoryProjections()


@pytest.fixture
def queries(projections: MemoryProjections) -> Queries:
    return Queries(projections)


async def test_open_incidents(projections: MemoryProjections, queries: Queries) -> None:
    """As many as there were at the last count."""
    registry = CollectorRegistry()
    metrics = StoreMetrics(queries, registry)
    await metrics.count()
    assert registry.get_sample_value("conveyor_incidents_open") == 0

    codes = [{"code": "INTERNAL"}, {"code": "PAST_PIVOT"}]
    await projections.save([workflow("wf-1", incidents=codes)])
    await metrics.count()

    assert registry.get_sample_value("conveyor_incidents_open") == 2


async def test_a_number_that_is_not_known_is_left_out(queries: Queries) -> None:
    """Before the first count, and while the store is away: an old number would be taken for that of now."""
    registry = CollectorRegistry()
    metrics = StoreMetrics(queries, registry)
    assert registry.get_sample_value("conveyor_incidents_open") is None

    await metrics.count()
    queries.is_away = True
    await metrics.count()
    assert registry.get_sample_value("conveyor_incidents_open") is None

    queries.is_away = False
    await metrics.count()
    assert registry.get_sample_value("conveyor_incidents_open") == 0

"""What the metrics say of how workflows end, and that the operators' page lists every metric."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest
from prometheus_client import CollectorRegistry

from adapters.memory.projections import MemoryProjections
from adapters.memory.queries import MemoryWorkflowQueries
from application.aggregates.workflow import WORKFLOW
from application.codec.events import record
from domain.definition.definition import OnFailure
from infrastructure.store_metrics import StoreMetrics
from infrastructure.telemetry import EngineTelemetry
from tests.domain.definitions import chain
from tests.domain.sagas import Saga

PAGE = Path(__file__).parents[2] / "docs" / "operations" / "health.md"


def begun(on_failure: OnFailure = OnFailure.COMPENSATE) -> Saga:
    definition = chain("reserve", "charge", on_failure=on_failure)
    return Saga(definition).starts().succeeds("reserve").after(seconds=7)


ENDS: dict[str, Callable[[], Saga]] = {
    "COMPLETED": lambda: begun().succeeds("charge"),
    "FAILED": lambda: begun(OnFailure.HOLD).fails("charge"),
    "COMPENSATED": lambda: begun().fails("charge").undone("reserve"),
    "CANCELLED": lambda: begun().cancels(compensate=False),
}


def told(registry: CollectorRegistry, saga: Saga) -> None:
    """Every event of the saga, as the engine reports it."""
    telemetry = EngineTelemetry(registry)
    events = [
        record(WORKFLOW, event, saga.instance, version)
        for version, event in enumerate(saga.history, 1)
    ]
    telemetry.recorded(events, saga.instance)


@pytest.mark.parametrize("status", ENDS)
def test_every_end_counts_in_the_durations_under_its_status(status: str) -> None:
    """From the start of the workflow, whatever the last phase took."""
    registry = CollectorRegistry()
    saga = ENDS[status]()
    assert saga.instance.status == status

    told(registry, saga)

    [metric] = [m for m in registry.collect() if m.name == "workflow_execution_duration_seconds"]
    sums = {s.labels["status"]: s.value for s in metric.samples if s.name.endswith("_sum")}
    counts = {s.labels["status"]: s.value for s in metric.samples if s.name.endswith("_count")}
    assert sums == {status: 7.0}
    assert counts == {status: 1.0}


async def test_the_operators_page_lists_every_metric() -> None:
    """With the name that Prometheus shows."""
    registry = CollectorRegistry()
    EngineTelemetry(registry)
    await StoreMetrics(MemoryWorkflowQueries(MemoryProjections()), registry).count()

    names = {
        f"{metric.name}_total" if metric.type == "counter" else metric.name
        for metric in registry.collect()
    }

    listed = {
        line.split("`")[1] for line in PAGE.read_text().splitlines() if line.startswith("| `")
    }
    assert names - listed == set()

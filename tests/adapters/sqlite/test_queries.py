"""Open incidents are found on their own index, however many workflows have none."""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from pathlib import Path
from typing import Any

import pytest

from adapters.sqlite.queries import SqliteWorkflowQueries
from adapters.sqlite.store import SqliteStore
from application.ports import ANY_INCIDENT, WorkflowFilter


class ExplainingStore(SqliteStore):
    """Remembers its last query."""

    _last: tuple[str, Mapping[str, Any] | Sequence[Any]]

    async def query(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
        self._last = (sql, parameters)
        return await super().query(sql, parameters)

    async def plan(self) -> list[str]:
        """What the last query does with tables and indexes."""
        sql, parameters = self._last
        return [row[3] for row in await super().query(f"EXPLAIN QUERY PLAN {sql}", parameters)]


@pytest.fixture
async def store(path: Path) -> AsyncIterator[ExplainingStore]:
    store = ExplainingStore(path)
    yield store
    await store.close()


@pytest.mark.parametrize("wanted", [ANY_INCIDENT, "INTERNAL"])
async def test_they_are_listed(store: ExplainingStore, wanted: str) -> None:
    """In the order of the list, without sorting."""
    await SqliteWorkflowQueries(store).find(WorkflowFilter(incident=wanted), 50, None)

    plan = await store.plan()
    assert plan[0] == "SCAN workflows USING INDEX workflows_incidents"
    assert not [step for step in plan if "TEMP B-TREE" in step]


async def test_a_tenant_is_listed(store: ExplainingStore) -> None:
    """Without a look at those of others; where nobody names tenants, in the order of the list."""
    queries = SqliteWorkflowQueries(store)

    await queries.find(WorkflowFilter(tenant="acme"), 50, None)
    assert await store.plan() == ["SEARCH workflows USING INDEX workflows_tenant (tenant=?)"]

    await queries.find(WorkflowFilter(tenant="default"), 50, None)
    assert await store.plan() == ["SCAN workflows USING INDEX workflows_started"]


async def test_they_are_counted(store: ExplainingStore) -> None:
    """Without a look at the documents."""
    await SqliteWorkflowQueries(store).open_incidents()

    assert await store.plan() == ["SCAN workflows USING COVERING INDEX workflows_incidents"]

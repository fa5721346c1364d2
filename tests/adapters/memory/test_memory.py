"""The memory adapters keep the contracts of the real ones."""

from __future__ import annotations

import pytest

from adapters.memory.definitions import MemoryDefinitionRepository
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.hot_state import MemoryHotState
from adapters.memory.locks import MemoryLeases, MemoryLocks
from adapters.memory.projections import MemoryProjections
from adapters.memory.queries import MemoryWorkflowQueries
from application.ports import Document
from infrastructure.clock import SystemClock
from tests.contracts.definitions_contract import DefinitionsContract
from tests.contracts.event_log_contract import EventLogContract
from tests.contracts.hot_state_contract import OWNER, HotStateContract, HotStateSite
from tests.contracts.locks_contract import LocksContract, LocksOf
from tests.contracts.projections_contract import ProjectionsContract
from tests.contracts.queries_contract import QueriesContract, QuerySite


class TestMemoryEventLog(EventLogContract):
    @pytest.fixture
    def log(self) -> MemoryEventLog:
        return MemoryEventLog()


class TestMemoryProjections(ProjectionsContract):
    @pytest.fixture
    def projections(self) -> MemoryProjections:
        return MemoryProjections()


class TestMemoryWorkflowQueries(QueriesContract):
    @pytest.fixture
    def site(self) -> QuerySite:
        projections = MemoryProjections()
        return QuerySite(projections, MemoryWorkflowQueries(projections))


class TestMemoryLocks(LocksContract):
    @pytest.fixture
    def locks_of(self) -> LocksOf:
        leases, clock = MemoryLeases(), SystemClock()
        return lambda owner: MemoryLocks(leases, owner, clock)


class TestMemoryDefinitionRepository(DefinitionsContract):
    @pytest.fixture
    def definitions(self) -> MemoryDefinitionRepository:
        return MemoryDefinitionRepository()


class MemorySite(HotStateSite):
    def __init__(self) -> None:
        self.hot_state = self._memory = MemoryHotState(OWNER)

    async def state(self, workflow_id: str) -> Document | None:
        return self._memory.states.get(workflow_id)

    async def lock(self, workflow_id: str) -> str | None:
        return self._memory.locks.get(workflow_id)


class TestMemoryHotState(HotStateContract):
    @pytest.fixture
    def site(self) -> MemorySite:
        return MemorySite()

"""The MongoDB adapters keep the contracts of their ports."""

from __future__ import annotations

import pytest

from adapters.mongodb.connection import Database
from adapters.mongodb.definitions import MongoDefinitionRepository
from adapters.mongodb.event_log import MongoEventLog
from adapters.mongodb.projections import MongoProjections
from adapters.mongodb.queries import MongoWorkflowQueries
from tests.contracts.definitions_contract import DefinitionsContract
from tests.contracts.event_log_contract import EventLogContract
from tests.contracts.projections_contract import ProjectionsContract
from tests.contracts.queries_contract import QueriesContract, QuerySite

pytestmark = pytest.mark.mongo


class TestMongoEventLog(EventLogContract):
    @pytest.fixture
    def log(self, database: Database) -> MongoEventLog:
        return MongoEventLog(database)


class TestMongoProjections(ProjectionsContract):
    @pytest.fixture
    def projections(self, database: Database) -> MongoProjections:
        return MongoProjections(database)


class TestMongoWorkflowQueries(QueriesContract):
    @pytest.fixture
    def site(self, database: Database) -> QuerySite:
        return QuerySite(MongoProjections(database), MongoWorkflowQueries(database))


class TestMongoDefinitionRepository(DefinitionsContract):
    @pytest.fixture
    def definitions(self, database: Database) -> MongoDefinitionRepository:
        return MongoDefinitionRepository(database)

"""The SQLite adapters keep the contracts of all others."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from pathlib import Path

import pytest
from conveyor.cloudevents import encode
from conveyor.key_store import KeyStore
from conveyor.messages import Message, Record

from adapters.sqlite.definitions import SqliteDefinitionRepository
from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.feed import SqliteEventFeed
from adapters.sqlite.inbox import SqliteInbox
from adapters.sqlite.locks import SqliteLocks
from adapters.sqlite.participant import ParticipantSession, SqliteKeyStore
from adapters.sqlite.projections import SqliteProjections
from adapters.sqlite.publisher import SqliteEnginePublisher, SqlitePublisher
from adapters.sqlite.queries import SqliteWorkflowQueries
from adapters.sqlite.store import SqliteStore
from application.ports import Commit, EventLog, PublishEventPort
from infrastructure.clock import SystemClock
from tests.contracts.definitions_contract import DefinitionsContract
from tests.contracts.event_log_contract import EventLogContract
from tests.contracts.feed_contract import FeedContract, FeedSite
from tests.contracts.inbox_contract import InboxContract, InboxSite
from tests.contracts.key_store_contract import KeyStoreContract
from tests.contracts.locks_contract import LocksContract, LocksOf, acquired
from tests.contracts.projections_contract import ProjectionsContract
from tests.contracts.publisher_contract import PublisherContract, PublisherSite
from tests.contracts.queries_contract import QueriesContract, QuerySite


class TestSqliteEventLog(EventLogContract):
    @pytest.fixture
    def log(self, store: SqliteStore) -> SqliteEventLog:
        session = EngineSession(store)
        self.publisher = SqliteEnginePublisher(session)
        return SqliteEventLog(session)

    async def append(self, log: EventLog, commits: Sequence[Commit]) -> Sequence[bool]:
        written = await log.append(commits)
        await self.publisher.publish([])
        return written


class TestReopenedSqliteEventLog(TestSqliteEventLog):
    """Nothing may depend on what a session remembers."""

    async def append(self, log: EventLog, commits: Sequence[Commit]) -> Sequence[bool]:
        assert isinstance(log, SqliteEventLog)
        if not log._session.unwritten:
            log._session.last_versions.clear()
            log._store.instances._stored.clear()
        return await super().append(log, commits)


class TestSqliteProjections(ProjectionsContract):
    @pytest.fixture
    def projections(self, store: SqliteStore) -> SqliteProjections:
        return SqliteProjections(store)


class TestSqliteWorkflowQueries(QueriesContract):
    @pytest.fixture
    def site(self, store: SqliteStore) -> QuerySite:
        return QuerySite(SqliteProjections(store), SqliteWorkflowQueries(store))


class TestSqliteDefinitionRepository(DefinitionsContract):
    @pytest.fixture
    def definitions(self, store: SqliteStore) -> SqliteDefinitionRepository:
        return SqliteDefinitionRepository(store)


class TestSqliteKeyStore(KeyStoreContract):
    @pytest.fixture
    async def store(self, path: Path) -> AsyncIterator[KeyStore]:
        store = SqliteStore(path)
        self.session = ParticipantSession(store)
        yield SqliteKeyStore(self.session)
        await store.close()

    async def commit(self, store: KeyStore) -> None:
        await self.session.write()


class _Inbox(InboxSite):
    def __init__(self, path: Path) -> None:
        self._path = path
        self._open()

    def _open(self) -> None:
        self.store = SqliteStore(self._path)
        self.inbox = SqliteInbox(EngineSession(self.store))

    async def put(self, *records: Record) -> None:
        await SqlitePublisher(self.store).publish(records)

    async def reopen(self) -> SqliteInbox:
        await self.store.close()
        self._open()
        assert isinstance(self.inbox, SqliteInbox)
        return self.inbox


class TestSqliteInbox(InboxContract):
    @pytest.fixture
    async def site(self, path: Path) -> AsyncIterator[_Inbox]:
        site = _Inbox(path)
        yield site
        await site.store.close()


class _Publisher(PublisherSite):
    def __init__(self, store: SqliteStore, publisher: PublishEventPort) -> None:
        self._store = store
        self.publisher = publisher

    async def written(self, topic: str, count: int) -> Sequence[Record]:
        found = await self._store.topic(topic)
        batches = await self._store._read_batches(found, 0, count)
        records = [record for batch in batches for record in batch.records]
        return [encode(each) if isinstance(each, Message) else each for each in records]


class TestSqlitePublisher(PublisherContract):
    @pytest.fixture
    def site(self, store: SqliteStore) -> PublisherSite:
        return _Publisher(store, SqlitePublisher(store))


class TestSqliteEnginePublisher(PublisherContract):
    @pytest.fixture
    def site(self, store: SqliteStore) -> PublisherSite:
        return _Publisher(store, SqliteEnginePublisher(EngineSession(store)))


class _Feed(FeedSite):
    def __init__(self, store: SqliteStore) -> None:
        self._publisher = SqlitePublisher(store)
        self.feed = SqliteEventFeed(store)

    async def publish(self, *messages: Message) -> None:
        await self._publisher.publish(messages)


class TestSqliteEventFeed(FeedContract):
    @pytest.fixture
    def site(self, store: SqliteStore) -> FeedSite:
        return _Feed(store)


class TestSqliteLocks(LocksContract):
    @pytest.fixture
    def locks_of(self, store: SqliteStore) -> LocksOf:
        clock = SystemClock()
        return lambda owner: SqliteLocks(store, owner, clock)


async def test_leases_outlive_their_process(path: Path) -> None:
    """A file that is opened again knows who holds what, and which tokens were given."""
    store = SqliteStore(path)
    lease = await acquired(SqliteLocks(store, "dev-1", SystemClock()))
    await store.close()

    store = SqliteStore(path)
    locks = SqliteLocks(store, "dev-2", SystemClock())
    assert await locks.acquire(lease.name, 1) is None
    assert await locks.release(lease) is True
    assert (await acquired(locks)).fencing_token > lease.fencing_token
    await store.close()

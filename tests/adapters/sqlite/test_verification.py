"""`conveyor verify` on the embedded file, beside the service that has it open and without one."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator, Sequence
from datetime import timedelta
from pathlib import Path

import pytest
from conveyor.messages import Message, Record
from conveyor.topics import EVENTS

from adapters.sqlite import verification
from adapters.sqlite.definitions import SqliteDefinitionRepository
from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.projections import SqliteProjections
from adapters.sqlite.publisher import SqliteEnginePublisher, SqlitePublisher
from adapters.sqlite.retention import trim
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.verification import (
    NoStoreError,
    SqlitePublishedEvents,
    SqliteReader,
    SqliteStoreScan,
)
from application.ports import Commit, Document
from application.verification.findings import Kind
from tests.contracts.histories import content
from tests.contracts.verification_contract import VerificationContract, listed
from tests.contracts.verification_site import VerificationSite


class SqliteSite(VerificationSite):
    """Written through the service's store, read through a connection of the verifier's own."""

    def __init__(self, store: SqliteStore, reader: SqliteReader) -> None:
        self.reader = reader
        self._store = store
        session = EngineSession(store)
        self._log = SqliteEventLog(session)
        self._engine = SqliteEnginePublisher(session)
        self.scan = SqliteStoreScan(reader)
        self.published = SqlitePublishedEvents(reader)

    async def write(
        self,
        commits: Sequence[Commit],
        documents: Sequence[Document],
        messages: Sequence[Message | Record],
    ) -> None:
        await self._log.append(commits)
        await self._engine.publish([])
        await SqliteProjections(self._store).save(documents)
        for message in messages:
            await SqlitePublisher(self._store).publish([message])

    async def drop_events(self, count: int) -> None:
        end = self._store.topics[EVENTS].end
        await trim(self._store, kept_always={EVENTS: end - count})


@pytest.fixture
def site(store: SqliteStore, path: Path) -> Iterator[SqliteSite]:
    reader = SqliteReader(path)
    yield SqliteSite(store, reader)
    reader.close()


class TestSqliteVerification(VerificationContract):
    @pytest.fixture
    def site(self, site: SqliteSite) -> SqliteSite:  # pyright: ignore[reportIncompatibleMethodOverride]
        return site


class TestSqliteVerificationInSmallPages(TestSqliteVerification):
    """Nothing may depend on where a page ends."""

    @pytest.fixture(autouse=True)
    def small_pages(self, monkeypatch: pytest.MonkeyPatch) -> None:
        monkeypatch.setattr(verification, "_COMMITS_AT_ONCE", 2)
        monkeypatch.setattr(verification, "_BATCHES_AT_ONCE", 2)


def damage(path: Path, sql: str, *parameters: str) -> None:
    """Change rows behind the service's back."""
    with sqlite3.connect(path) as connection:
        assert connection.execute(sql, parameters).rowcount > 0
    connection.close()


async def test_a_last_version_that_is_not_the_contents(site: SqliteSite, path: Path) -> None:
    """The stored last version of a commit is what look-ups trust."""
    await site.write_all(content())
    damage(
        path,
        "UPDATE commits SET last_version = 9 WHERE last_version = 4 AND key >> 32 ="
        " (SELECT number FROM instances WHERE id = 'wf-running')",
    )

    report = await site.verify()

    assert [(f.workflow_id, f.kind) for f in report.findings] == [("wf-running", Kind.COMMIT)]


@pytest.mark.parametrize("text", ["{", "[{}]", "7", '[{"cause": 5, "messageId": 1, "events": 2}]'])
async def test_entries_that_cannot_be_read(site: SqliteSite, path: Path, text: str) -> None:
    """A commit that is nothing any more is found, and ends no check."""
    await site.write_all(content())
    damage(
        path,
        "UPDATE commits SET entries = ? WHERE key >> 32 ="
        " (SELECT number FROM instances WHERE id = 'wf-running')",
        text,
    )

    report = await site.verify()

    assert Kind.COMMIT in report.counts
    assert {finding.workflow_id for finding in report.findings} == {"wf-running"}


@pytest.mark.parametrize("text", ["{", "[]", '{"version": "nine"}'])
async def test_a_projection_that_cannot_be_read(site: SqliteSite, path: Path, text: str) -> None:
    """A document that is nothing any more is found."""
    await site.write_all(content())
    damage(path, "UPDATE workflows SET document = ? WHERE id = 'wf-running'", text)

    at_once = await site.verify()
    settled = await site.verify(timedelta(milliseconds=100))

    assert [(f.workflow_id, f.kind) for f in at_once.findings] == [
        ("wf-running", Kind.PROJECTION),
    ]
    assert settled.counts == {Kind.PROJECTION: 1, Kind.BEHIND: 1}


async def test_rows_of_no_instance(site: SqliteSite, path: Path) -> None:
    """Commits and projections whose number nobody has are found as those of that number."""
    await site.write_all(content())
    damage(path, "DELETE FROM instances WHERE id = 'wf-running'")

    report = await site.verify()
    kinds = {finding.kind for finding in report.findings}
    owners = {finding.workflow_id for finding in report.findings}

    assert {Kind.EVENT, Kind.UNLOGGED} <= kinds
    assert "wf-running" in owners
    assert any(owner is not None and owner.startswith("#0") for owner in owners)


async def test_what_a_killed_process_left(path: Path, tmp_path: Path) -> None:
    """A file whose newest commits stand in its WAL alone is read with them, and stays as it is."""
    store = SqliteStore(path)
    written = SqliteReader(path)
    await SqliteSite(store, written).write_all(content())
    left = tmp_path / "left.db"
    for suffix in ("", "-wal"):
        left.with_name(left.name + suffix).write_bytes(
            path.with_name(path.name + suffix).read_bytes()
        )
    written.close()
    await store.close()
    before = left.read_bytes(), left.with_name("left.db-wal").read_bytes()

    reader = SqliteReader(left)
    commits = await listed(SqliteStoreScan(reader).commits("", None))
    reader.close()

    assert len(commits) == len(content().commits)
    assert (left.read_bytes(), left.with_name("left.db-wal").read_bytes()) == before


async def test_the_service_goes_on_meanwhile(site: SqliteSite) -> None:
    """A scan that is under way holds up no writer, and does not mind what is written."""
    stored = content()
    await site.write_all(stored)
    scan = site.scan.commits("", None)

    first = await anext(scan)
    await site.write([], [stored.document_of("wf-running") | {"version": 7}], [])
    rest = await listed(scan)

    assert [first, *rest][0].id == "inbox:0:000001"
    assert len(rest) == len(stored.commits) - 1


def test_a_file_that_is_not_there(tmp_path: Path) -> None:
    """Nothing is created; the sentence names the file."""
    with pytest.raises(NoStoreError, match="absent"):
        SqliteReader(tmp_path / "absent.db")

    assert list(tmp_path.iterdir()) == []


@pytest.mark.parametrize("content", [b"", b"no database at all, but some text" * 40])
def test_a_file_that_is_no_store(tmp_path: Path, content: bytes) -> None:
    """An empty file or one of another sort is refused by name."""
    file = tmp_path / "other.db"
    file.write_bytes(content)

    with pytest.raises(NoStoreError, match="other"):
        SqliteReader(file)


async def test_definitions_are_read(store: SqliteStore, path: Path) -> None:
    """A definition comes as it was registered; one that is not there is None."""
    await SqliteDefinitionRepository(store).add({"name": "order", "version": 1, "steps": []})
    reader = SqliteReader(path)

    assert await reader.definition("order", 1) == {"name": "order", "version": 1, "steps": []}
    assert await reader.definition("order", 2) is None
    reader.close()

"""Stores that an older release wrote open, are migrated, verify clean and go on."""

from __future__ import annotations

import asyncio
import gzip
import sqlite3
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Mapping, Sequence
from contextlib import closing, contextmanager, suppress
from dataclasses import replace
from datetime import timedelta
from importlib.resources import files
from pathlib import Path
from typing import Any

import orjson
import pytest
from bson.json_util import loads
from conveyor import types
from conveyor.handlers import StepContext
from conveyor.participant import Participant
from conveyor.runner import ParticipantRunner
from prometheus_client import CollectorRegistry
from typer.testing import CliRunner

from adapters.mongodb.connection import Database, connect
from adapters.mongodb.definitions import MongoDefinitionRepository
from adapters.mongodb.event_log import MongoEventLog
from adapters.mongodb.projections import MongoProjections
from adapters.mongodb.queries import MongoWorkflowQueries
from adapters.mongodb.schema import SCHEMA_VERSION as MONGODB_VERSION
from adapters.mongodb.schema import ensure_schema, migrate, require_current
from adapters.mongodb.verification import MongoStoreScan
from adapters.sqlite.migrations import SCHEMA_VERSION as SQLITE_VERSION
from adapters.sqlite.participant import (
    ParticipantSession,
    SqliteKeyStore,
    SqliteParticipantTransport,
)
from adapters.sqlite.queries import SqliteWorkflowQueries
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.verification import SqlitePublishedEvents, SqliteReader
from application.aggregates.catalog import CATALOG
from application.definitions.registry import DefinitionRegistry
from application.ports import ANY_INCIDENT, Document, SetupError, Unavailable, WorkflowFilter
from application.verification.verifier import Verifier
from deploy.local_services.process import free_port
from infrastructure.cli import app
from infrastructure.initialise import initialise_embedded
from infrastructure.running import EngineRunner, run_gateway
from infrastructure.settings import Settings
from infrastructure.verification import verify_embedded
from infrastructure.warehouse import FLOOR, Work
from infrastructure.wiring import Backbone, embedded
from tests.contracts.samples import workflow

STORES = Path(__file__).parent / "stores_of_8043b43"

LEFT = {
    "done-1": "COMPLETED",
    "done-2": "COMPENSATING",
    "odd-1": "COMPLETED",
    "undone-1": "COMPENSATED",
    "cancelled-1": "CANCELLED",
    "failed-1": "FAILED",
    "waiting-1": "EXECUTING",
    "running-1": "EXECUTING",
    "begun-1": "EXECUTING",
    "cancelling-1": "COMPENSATING",
    "paused-1": "PAUSED",
}
ENDS = {
    **LEFT,
    "done-2": "COMPENSATED",
    "failed-1": "COMPLETED",
    "waiting-1": "COMPLETED",
    "running-1": "COMPLETED",
    "begun-1": "COMPLETED",
    "cancelling-1": "COMPENSATED",
    "paused-1": "COMPLETED",
}


@pytest.fixture
def file(tmp_path: Path) -> Path:
    """The embedded file of the older release."""
    path = tmp_path / "conveyor.db"
    path.write_bytes(gzip.decompress((STORES / "embedded.db.gz").read_bytes()))
    return path


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    """The database of the older release."""
    async with connect(mongo_uri) as client:
        database = client[f"test-{uuid.uuid4()}"]
        for line in gzip.decompress((STORES / "mongodb.jsonl.gz").read_bytes()).splitlines():
            collection, document = loads(line)
            await database[collection].insert_one(document)
        yield database
        await client.drop_database(database.name)


async def test_an_embedded_file_goes_on(file: Path) -> None:
    """What was open ends, what had ended is as it was, and nothing is wrong with the store."""
    before = stored_commits(file)
    async with embedded(file, Settings()) as mode:
        assert schema_version(file) == SQLITE_VERSION
        assert stored_commits(file) == before
        await initialise_embedded(mode.backbone, mode.store)

        await finish(mode.backbone, mode.store)

        report = await verify_embedded(file, timedelta(seconds=10))
    assert report.is_clean, report.findings


@pytest.mark.mongo
async def test_a_mongodb_database_goes_on(database: Database, file: Path) -> None:
    """The same, with the topics of the embedded file, which was written at the same time."""
    before = await MongoEventLog(database).history("odd-1", 0, 100)
    assert before[0].entries[0].events[0].data["metadata"]["nul\0l"] == 2**63 + 1
    with pytest.raises(SetupError, match="run `conveyor init`"):
        await require_current(database)
    async with embedded(file, Settings()) as mode:
        definitions = MongoDefinitionRepository(database)
        registry = DefinitionRegistry(definitions, mode.backbone.clock)
        backbone = replace(
            mode.backbone,
            event_log=MongoEventLog(database),
            projections=MongoProjections(database),
            queries=MongoWorkflowQueries(database),
            registry=registry,
            definitions=definitions,
            engine_publisher=mode.backbone.publisher,
            migrate=lambda: migrate(database),
        )

        await finish(backbone, mode.store)

        await require_current(database)
        reader = SqliteReader(file)
        verifier = Verifier(
            MongoStoreScan(database),
            SqlitePublishedEvents(reader),
            registry.get,
            mode.backbone.clock,
            CATALOG,
        )
        report = await verifier.run(timedelta(seconds=10))
        reader.close()
    assert report.is_clean, report.findings
    stored = await database["schema_version"].find_one()
    assert stored == {"_id": "schema", "version": MONGODB_VERSION}
    assert "incident_idx" in await database["workflows"].index_information()


async def test_a_migration_happens_as_a_whole_or_not(file: Path) -> None:
    """On a full disk the file stays as the older release wrote it, and opens once there is room."""
    before = stored_commits(file)

    with pytest.raises(Unavailable, match="full"):
        SqliteStore(file, max_pages=pages(file) + 1)

    assert schema_version(file) == 2
    assert stored_commits(file) == before
    store = SqliteStore(file)
    await store.close()
    assert stored_commits(file) == before


async def test_open_incidents_of_an_older_file_are_found(tmp_path: Path) -> None:
    """Version 4 had them in its documents only."""
    file = tmp_path / "conveyor.db"
    write_version_4(
        file,
        {
            "old": workflow("old"),
            "none": workflow("none", incidents=[]),
            "two": workflow("two", incidents=[{"code": "INTERNAL"}, {"code": "PAST_PIVOT"}]),
        },
    )

    store = SqliteStore(file)
    queries = SqliteWorkflowQueries(store)

    assert await queries.open_incidents() == 2
    for wanted in (ANY_INCIDENT, "INTERNAL", "PAST_PIVOT"):
        page = await queries.find(WorkflowFilter(incident=wanted), 10, None)
        assert [item["_id"] for item in page.items] == ["two"]
    await store.close()


async def test_tenants_of_an_older_file_are_found(tmp_path: Path) -> None:
    """Version 4 had them in its documents only."""
    file = tmp_path / "conveyor.db"
    write_version_4(file, {"old": workflow("old"), "new": workflow("new", tenant="acme")})

    store = SqliteStore(file)
    queries = SqliteWorkflowQueries(store)

    for tenant, expected in (("default", ["old"]), ("acme", ["new"])):
        page = await queries.find(WorkflowFilter(tenant=tenant), 10, None)
        assert [item["_id"] for item in page.items] == expected
    await store.close()


async def test_a_migrated_file_has_the_tables_of_a_new_one(file: Path, tmp_path: Path) -> None:
    """Whichever release made it first."""
    new = tmp_path / "new.db"
    for path in (file, new):
        await SqliteStore(path).close()

    assert tables(file) == tables(new)


@pytest.mark.parametrize("version", [1, 99])
def test_an_embedded_file_of_an_unknown_version_is_refused(tmp_path: Path, version: int) -> None:
    """With a sentence and exit code 2, by those who write and those who read."""
    path = tmp_path / "conveyor.db"
    connection = sqlite3.connect(path)
    connection.execute(f"PRAGMA user_version = {version}")
    connection.close()

    dev = ["dev", "--port", str(free_port()), "--db", str(path)]
    for command in (dev, ["verify", "--db", str(path)]):
        result = CliRunner().invoke(app, command)

        assert result.exit_code == 2
        assert f"has schema version {version}, this Conveyor reads" in result.output


def test_verify_says_how_an_older_file_is_migrated(file: Path) -> None:
    """It only reads."""
    result = CliRunner().invoke(app, ["verify", "--db", str(file)])

    assert result.exit_code == 2
    assert f"start `conveyor dev --db {file}` once" in result.output
    assert schema_version(file) == 2


@pytest.mark.mongo
async def test_a_database_of_a_newer_release_is_refused(database: Database) -> None:
    """By those who prepare it, serve from it and read it; it stays as it is."""
    newer = {"_id": "schema", "version": MONGODB_VERSION + 1}
    await database["schema_version"].replace_one({"_id": "schema"}, newer)

    for use in (ensure_schema, migrate, require_current):
        with pytest.raises(SetupError, match="use the newer"):
            await use(database)

    assert await database["schema_version"].find_one() == newer


@pytest.mark.mongo
async def test_an_empty_database_waits_for_init(mongo_uri: str) -> None:
    """Nothing is created by those who serve."""
    async with connect(mongo_uri) as client:
        database = client[f"test-{uuid.uuid4()}"]

        await migrate(database)

        assert await database.list_collection_names() == []


async def finish(backbone: Backbone, store: SqliteStore) -> None:
    """Run an engine and a participant until every workflow has ended."""
    assert {name: await status(backbone, name) for name in LEFT} == LEFT
    stop = asyncio.Event()
    gateway = backbone.gateway()
    engine = EngineRunner(backbone, Settings(), CollectorRegistry())
    session = ParticipantSession(store)
    runner = ParticipantRunner(
        prompt_warehouse(), SqliteParticipantTransport(session), SqliteKeyStore(session)
    )
    running = [
        asyncio.ensure_future(part)
        for part in (engine.run(stop), run_gateway(gateway, stop), runner.run_until(stop))
    ]
    for command, workflow_id in ((types.RESUME, "paused-1"), (types.RETRY, "failed-1")):
        outcome = await gateway.send(gateway.message(command, workflow_id, {}), 10.0)
        assert outcome.event is not None
        assert not outcome.is_rejected
    await until(lambda: has_ended(backbone), running)
    stop.set()
    await asyncio.gather(*running)


async def has_ended(backbone: Backbone) -> bool:
    return {name: await status(backbone, name) for name in ENDS} == ENDS


async def status(backbone: Backbone, workflow_id: str) -> str:
    shown = await backbone.reader().get(workflow_id)
    assert shown is not None
    return shown["status"]


async def until(
    holds: Callable[[], Awaitable[bool]], running: Sequence[asyncio.Future[None]]
) -> None:
    """Look again and again; raises what one of the parts ended with."""
    async with asyncio.timeout(50):
        while not await holds():
            with suppress(TimeoutError):
                await asyncio.wait_for(asyncio.shield(running[0]), 0.05)


def prompt_warehouse() -> Participant:
    """The services of the shipped definition, without what the orders want simulated."""
    participant = Participant("warehouse")
    for work in FLOOR:
        serve(participant, work)
    return participant


def serve(participant: Participant, work: Work) -> None:
    @participant.step(work.service, work.operation, effect_is_record=True)
    def perform(data: dict[str, Any], context: StepContext) -> dict[str, str]:
        return {work.output: context.idempotency_key}

    @perform.compensation(work.undo, effect_is_record=True)
    def undo(context: StepContext) -> None:
        """Nothing was done but answering."""


@contextmanager
def opened(path: Path) -> Iterator[sqlite3.Connection]:
    """The file, closed again; what was changed is committed."""
    with closing(sqlite3.connect(path)) as connection, connection:
        yield connection


def stored_commits(path: Path) -> list[Any]:
    with opened(path) as connection:
        sql = "SELECT key, last_version, partition, entries FROM commits ORDER BY key"
        return connection.execute(sql).fetchall()


def pages(path: Path) -> int:
    with opened(path) as connection:
        return connection.execute("PRAGMA page_count").fetchone()[0]


def schema_version(path: Path) -> int:
    with opened(path) as connection:
        return connection.execute("PRAGMA user_version").fetchone()[0]


def write_version_4(path: Path, documents: Mapping[str, Document]) -> None:
    """A file with the tables of that version and these projections."""
    folder = files("adapters.sqlite.migrations")
    with opened(path) as connection:
        for script in ("0002_tables", "0003_commits_in_order_of_writing", "0004_leases"):
            connection.executescript((folder / f"{script}.sql").read_text(encoding="utf-8"))
        connection.execute("PRAGMA user_version = 4")
        connection.executemany(
            "INSERT INTO workflows (id, version, partition, status, started_at, labels, document)"
            " VALUES (?, 1, 0, 'EXECUTING', '', '{}', ?)",
            [(key, orjson.dumps(document).decode()) for key, document in documents.items()],
        )


def tables(path: Path) -> Mapping[str, str]:
    with opened(path) as connection:
        rows = connection.execute("SELECT name, sql FROM sqlite_master WHERE sql IS NOT NULL")
        return {name: sql.replace('"', "") for name, sql in rows}

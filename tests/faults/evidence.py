"""What log, projections, topics and journal say when all is over, read past the service."""

from __future__ import annotations

import asyncio
import json
import shutil
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conveyor import topics
from conveyor.keys import UNDO_SUFFIX, KeyState, loads
from conveyor.messages import Message
from pymongo import AsyncMongoClient

from adapters.mongodb.event_log import MongoEventLog
from adapters.mongodb.projections import MongoProjections
from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.projections import SqliteProjections
from adapters.sqlite.store import SqliteStore
from application.ports import Commit, Document, EventLog, Projections
from tests.acceptance.courses import Record
from tests.acceptance.sites import Site

_ALL = 1_000_000
_KEYS = """
SELECT i.id || '/' || k.step, k.record FROM participant_keys AS k
JOIN instances AS i ON i.number = k.instance ORDER BY k.rowid
"""


@dataclass(frozen=True, slots=True)
class Published:
    """One record of the events topic."""

    key: str
    id: str
    value: bytes


@dataclass(frozen=True, slots=True)
class Evidence:
    """The traces that a set of sagas left."""

    #: Aggregate -> its commits in the order of their versions.
    commits: Mapping[str, Sequence[Commit]]
    projections: Mapping[str, Document]
    #: In the order of the topic, copies included.
    published: Sequence[Published]
    #: Idempotency keys in the order in which the warehouse did the effects: its journal, or its key records.
    effects: Sequence[str]


def of_site(site: Site, records: Sequence[Record]) -> Evidence:
    """Everything in the stores of a production site; `records` is what was read from its events topic."""
    ids = site.database["workflow_events"].distinct("workflowId")
    commits, projections = asyncio.run(_from_mongo(site, ids))
    lines = site.journal_file.read_text().splitlines()
    return Evidence(
        commits,
        projections,
        [Published(each.key, each.headers["ce_id"], each.value) for each in records],
        [json.loads(line)["idempotencyKey"] for line in lines],
    )


async def _from_mongo(
    site: Site, ids: Collection[str]
) -> tuple[Mapping[str, Sequence[Commit]], Mapping[str, Document]]:
    client = AsyncMongoClient[Document](site.settings["CONVEYOR_MONGODB__URI"])
    try:
        database = client[site.database.name]
        return await _read(MongoEventLog(database), MongoProjections(database), ids)
    finally:
        await client.close()


def of_file(file: Path, workshop: Path) -> Evidence:
    """Everything in a copy of an embedded file, made in the folder `workshop`; the file stays as it is."""
    copy = copied(file, workshop)
    return asyncio.run(_from_sqlite(copy))


def copied(file: Path, folder: Path) -> Path:
    """The database with its write-ahead log; the shared memory beside them is made anew."""
    folder.mkdir(parents=True, exist_ok=True)
    for name in (file.name, f"{file.name}-wal"):
        (folder / name).unlink(missing_ok=True)
        if (file.parent / name).exists():
            shutil.copy(file.parent / name, folder / name)
    (folder / f"{file.name}-shm").unlink(missing_ok=True)
    return folder / file.name


async def _from_sqlite(file: Path) -> Evidence:
    store = SqliteStore(file)
    try:
        ids = [row[0] for row in await store.query("SELECT id FROM instances", ())]
        log = SqliteEventLog(EngineSession(store))
        commits, projections = await _read(log, SqliteProjections(store), ids)
        return Evidence(commits, projections, await _published(store), await _performed(store))
    finally:
        await store.close()


async def _performed(store: SqliteStore) -> Sequence[str]:
    """Keys whose effect was performed, in the order in which participants first answered for them."""
    rows = await store.query(_KEYS, ())
    performed = [key for key, record in rows if loads(record).state is KeyState.PERFORMED]
    # What was never performed needs no undo: its record says "performed" without an effect.
    undone = {f"{key}{UNDO_SUFFIX}" for key in performed}
    return [key for key in performed if not key.endswith(UNDO_SUFFIX) or key in undone]


async def _published(store: SqliteStore) -> Sequence[Published]:
    topic = store.topics.get(topics.EVENTS)
    if topic is None:
        return []
    taken = await store.consumer({topic: 0}).take(_ALL, 0)
    found: list[Published] = []
    for _, batches in taken:
        for batch in batches:
            for record in batch.records:
                assert isinstance(record, Message), "the engine publishes messages"
                found.append(Published(record.key or "", record.id, record.data))
    return found


async def _read(
    log: EventLog, projections: Projections, ids: Collection[str]
) -> tuple[Mapping[str, Sequence[Commit]], Mapping[str, Document]]:
    commits = {each: await log.history(each, 0, _ALL) for each in ids}
    return {each: found for each, found in commits.items() if found}, await projections.load(
        list(ids)
    )

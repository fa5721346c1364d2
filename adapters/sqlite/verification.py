"""Reads the embedded file for `conveyor verify`, even while a service has it open.

The connection is read-only, takes no lock that a writer waits for, and ends every read transaction after one page.
Readers of a WAL file see the last commit before their statement; meanwhile they only delay the reuse of the WAL. What a
killed process left in the WAL is read from there and stays there.

Rows whose number belongs to no instance are reported as those of an instance `#<number>`.
"""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, cast

import orjson
from conveyor.topics import EVENTS

from adapters.sqlite.batches import as_message, unpack
from adapters.sqlite.event_log import commit_from_row
from adapters.sqlite.migrations import is_new, require_current
from adapters.sqlite.schema import split_key
from adapters.sqlite.writer import as_unavailable
from application.ports import Commit, Document, Published, PublishedRange, StoredCommit

_COMMITS_AT_ONCE = 1_000
_BATCHES_AT_ONCE = 100
_BUSY_SECONDS = 10.0

_STRAY_PROJECTIONS = """
SELECT printf('#%020d', number) AS stray, document FROM workflows AS w
WHERE NOT EXISTS (SELECT 1 FROM instances AS i WHERE i.number = w.number)
AND stray >= ? ORDER BY number LIMIT ?
"""
_PROJECTIONS = """
SELECT i.id, w.document FROM instances AS i JOIN workflows AS w ON w.number = i.number
WHERE i.id >= ? ORDER BY i.id LIMIT ?
"""
_STRAY_COMMITS = """
SELECT printf('#%020d', key >> 32) AS stray, key, partition, entries, last_version FROM commits
WHERE NOT EXISTS (SELECT 1 FROM instances AS i WHERE i.number = key >> 32)
AND key > :key AND stray >= :first AND (:last IS NULL OR stray <= :last) ORDER BY key LIMIT :limit
"""
_COMMITS = """
SELECT i.id, c.key, c.partition, c.entries, c.last_version FROM instances AS i CROSS JOIN commits AS c
ON c.key > i.number << 32 AND c.key < (i.number + 1) << 32
WHERE i.id >= :first AND (:last IS NULL OR i.id <= :last) ORDER BY i.id, c.key LIMIT :limit
"""
_REST = """
SELECT i.id, c.key, c.partition, c.entries, c.last_version FROM instances AS i JOIN commits AS c
ON c.key > :key AND c.key < (i.number + 1) << 32
WHERE i.id = :id ORDER BY c.key LIMIT :limit
"""
_DEFINITION = "SELECT document FROM definitions WHERE name = ? AND version = ?"
_RANGE = """
SELECT coalesce(min(first_offset), 0), coalesce(max(first_offset + count), 0) FROM record_batches
WHERE topic = (SELECT number FROM topics WHERE name = ?)
"""
_BATCHES = """
SELECT first_offset, appended_ms, content FROM record_batches
WHERE topic = (SELECT number FROM topics WHERE name = ?) AND first_offset >= ? AND first_offset < ?
ORDER BY first_offset LIMIT ?
"""


class NoStoreError(Exception):
    """The file does not contain an embedded store; the text says what it contains."""


class SqliteReader:
    """A read-only connection to the file, used from one event loop."""

    def __init__(self, path: Path) -> None:
        """Raises `NoStoreError`, `SetupError`."""
        try:
            self._connection = _connect(path)
        except sqlite3.DatabaseError as error:
            raise NoStoreError(
                f"{path}: {error}; give the file of `conveyor dev` by --db"
            ) from error

    async def query(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
        """All rows. The read transaction has then ended."""

        def read() -> list[Any]:
            return self._connection.execute(sql, parameters).fetchall()

        try:
            return await asyncio.to_thread(read)
        except sqlite3.OperationalError as error:
            raise as_unavailable(error) from error

    async def definition(self, name: str, version: int) -> Document | None:
        """A definition as it was registered."""
        rows = await self.query(_DEFINITION, (name, version))
        return orjson.loads(rows[0][0]) if rows else None

    def close(self) -> None:
        self._connection.close()


class SqliteStoreScan:
    """`StoreScan` on the tables `commits` and `workflows`."""

    def __init__(self, reader: SqliteReader) -> None:
        self._reader = reader

    async def projections(self, first: str, limit: int) -> Sequence[Document]:
        rows = await self._reader.query(_STRAY_PROJECTIONS, (first, limit))
        if len(rows) < limit:
            rows += await self._reader.query(_PROJECTIONS, (first, limit - len(rows)))
        # The row's key is its identity; the verifier compares it with the document.
        return [{**_document(text), "_id": row_id} for row_id, text in rows]

    async def commits(self, first: str, last: str | None) -> AsyncIterator[StoredCommit]:
        asked: dict[str, Any] = {"first": first, "last": last, "limit": _COMMITS_AT_ONCE, "key": 0}
        while strays := await self._reader.query(_STRAY_COMMITS, asked):
            for row in strays:
                yield _stored(row)
            asked["key"] = strays[-1][1]
        page = await self._reader.query(_COMMITS, asked)
        while page:
            for row in page:
                yield _stored(row)
            last_id: str = page[-1][0]
            place = {"id": last_id, "key": page[-1][1], "limit": _COMMITS_AT_ONCE}
            page = await self._reader.query(_REST, place)
            if not page:
                # A space sorts before all that ids consist of.
                page = await self._reader.query(_COMMITS, {**asked, "first": f"{last_id} "})


class SqlitePublishedEvents:
    """`PublishedEvents` on the embedded events topic, which has one partition."""

    def __init__(self, reader: SqliteReader) -> None:
        self._reader = reader

    async def ranges(self) -> Sequence[PublishedRange]:
        [(start, end)] = await self._reader.query(_RANGE, (EVENTS,))
        return [PublishedRange(0, start, end)]

    async def read(self, ranges: Sequence[PublishedRange]) -> AsyncIterator[Published]:
        for wanted in ranges:
            offset = wanted.start
            while rows := await self._reader.query(
                _BATCHES, (EVENTS, offset, wanted.end, _BATCHES_AT_ONCE)
            ):
                for offset, appended_ms, content in rows:
                    at = datetime.fromtimestamp(appended_ms / 1000, UTC)
                    for place, record in enumerate(unpack(EVENTS, content)):
                        yield Published(0, offset + place, at, as_message(record))
                offset += 1


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        f"{path.absolute().as_uri()}?mode=ro",
        uri=True,
        timeout=_BUSY_SECONDS,
        isolation_level=None,
        check_same_thread=False,
    )
    try:
        _require_store(connection, path)
    except BaseException:  # an interrupt must not leave the file open either
        connection.close()
        raise
    return connection


def _require_store(connection: sqlite3.Connection, path: Path) -> None:
    if is_new(connection):
        raise NoStoreError(f"{path} is empty; give the file of `conveyor dev` by --db")
    require_current(connection, path)


def _document(text: str) -> Document:
    """The document; empty if the text is damaged."""
    try:
        document: Any = orjson.loads(text)
    except ValueError:
        return {}
    return cast(Document, document) if isinstance(document, dict) else {}


def _stored(row: tuple[str, int, int, str, int]) -> StoredCommit:
    workflow_id, key, partition, entries, last_version = row
    try:
        commit = commit_from_row((workflow_id, key, partition, entries))
    except (LookupError, TypeError, ValueError):
        commit = Commit(workflow_id, split_key(key)[1], partition, ())
    return StoredCommit(commit.id, last_version, commit)

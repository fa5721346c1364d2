"""Projections, stored starts and the layout in the embedded store."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import orjson
from conveyor.times import rfc3339

from adapters.sqlite.store import SqliteStore
from adapters.sqlite.writer import Row, Statement
from application.codec.times import parse_time
from application.ports import Document, InboxLayout, InboxStart, Mark

#: The consumer name of the engine in `consumer_offsets`.
ENGINE = "engine"

_SAVE = """
INSERT INTO workflows (number, id, version, partition, next_timer_at, status, type, definition,
                       correlation_id, user_id, wallet, started_at, labels, document, incidents,
                       tenant)
VALUES {values}
ON CONFLICT (number) DO UPDATE SET
    version = excluded.version, partition = excluded.partition,
    next_timer_at = excluded.next_timer_at, status = excluded.status, type = excluded.type,
    definition = excluded.definition, correlation_id = excluded.correlation_id,
    user_id = excluded.user_id, wallet = excluded.wallet, started_at = excluded.started_at,
    labels = excluded.labels, document = excluded.document, incidents = excluded.incidents,
    tenant = excluded.tenant
WHERE excluded.version > version
"""
_LOAD = """
SELECT i.id, w.document FROM json_each(?) AS wanted
JOIN instances AS i ON i.id = wanted.value JOIN workflows AS w ON w.number = i.number
"""
_DUE = """
SELECT id FROM workflows WHERE partition = ? AND next_timer_at <= ?
ORDER BY next_timer_at LIMIT ?
"""
_SAVE_OFFSETS = """
INSERT INTO consumer_offsets (consumer, topic, partition, topic_id, next_offset) VALUES {values}
ON CONFLICT DO UPDATE SET topic_id = excluded.topic_id, next_offset = excluded.next_offset
WHERE excluded.topic_id <> topic_id OR excluded.next_offset > next_offset
"""
_OFFSETS = """
SELECT topic, partition, topic_id, next_offset FROM consumer_offsets WHERE consumer = ?
ORDER BY topic, partition
"""
_SAVE_LAYOUT = """
INSERT INTO settings (name, value) VALUES ('layout', ?)
ON CONFLICT DO UPDATE SET value = excluded.value
"""
#: A value is the claim, a space and the time. As an integer it is the claim.
_SAVE_MARKS = """
INSERT INTO settings (name, value) VALUES {values}
ON CONFLICT DO UPDATE SET value = excluded.value
WHERE CAST(excluded.value AS INTEGER) >= CAST(value AS INTEGER)
"""
_MARKS = "SELECT substr(name, 6), value FROM settings WHERE name >= 'mark:' AND name < 'mark;'"
_LAYOUT = "SELECT value FROM settings WHERE name = 'layout'"


def save_offsets(consumer: str, starts: Sequence[InboxStart]) -> Statement:
    """Store a consumer's offsets. With the same topic id they never move backwards."""
    return Statement(
        _SAVE_OFFSETS,
        [
            (consumer, start.topic, start.partition, start.topic_id, start.offset)
            for start in starts
        ],
    )


async def load_offsets(store: SqliteStore, consumer: str) -> Sequence[InboxStart]:
    """A consumer's offset in each of its topics."""
    return [InboxStart(*row) for row in await store.query(_OFFSETS, (consumer,))]


class SqliteProjections:
    """`Projections` on the tables `workflows`, `consumer_offsets` and `settings`."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def load(self, ids: Sequence[str]) -> Mapping[str, Document]:
        rows = await self._store.by_keys(_LOAD, ids)
        return {workflow_id: orjson.loads(document) for workflow_id, document in rows}

    async def save(self, documents: Sequence[Document]) -> None:
        if not documents:
            return
        numbers = self._store.instances.number([document["_id"] for document in documents])
        rows = [_row(numbers[document["_id"]], document) for document in documents]
        await self._store.write([Statement(_SAVE, rows)], instances=numbers)

    async def due(self, partition: int, before: datetime, limit: int) -> Sequence[str]:
        rows = await self._store.query(_DUE, (partition, rfc3339(before.astimezone(UTC)), limit))
        return [row[0] for row in rows]

    async def starts(self) -> Sequence[InboxStart]:
        return await load_offsets(self._store, ENGINE)

    async def save_starts(self, starts: Sequence[InboxStart]) -> None:
        if starts:
            await self._store.write([save_offsets(ENGINE, starts)])

    async def marks(self) -> Sequence[Mark]:
        return [
            Mark(int(partition), int(claim), parse_time(until) if until else None)
            for partition, value in await self._store.query(_MARKS, ())
            for claim, _, until in [value.partition(" ")]
        ]

    async def save_marks(self, marks: Sequence[Mark]) -> None:
        rows = [
            (
                f"mark:{mark.partition}",
                f"{mark.claim} {'' if mark.until is None else rfc3339(mark.until)}",
            )
            for mark in marks
        ]
        await self._store.write([Statement(_SAVE_MARKS, rows)])

    async def layout(self) -> InboxLayout | None:
        rows = await self._store.query(_LAYOUT, ())
        if not rows:
            return None
        layout = orjson.loads(rows[0][0])
        return InboxLayout(
            layout["topicIds"], layout["partitions"], bytes.fromhex(layout["secret"])
        )

    async def save_layout(self, layout: InboxLayout) -> None:
        document = {
            "topicIds": dict(layout.topic_ids),
            "partitions": layout.partitions,
            "secret": layout.secret.hex(),
        }
        await self._store.write([Statement(_SAVE_LAYOUT, [(orjson.dumps(document).decode(),)])])


def _row(number: int, document: Document) -> Row:
    get = document.get
    return (
        number,
        document["_id"],
        document["version"],
        get("partition", 0),
        get("nextTimerAt"),
        get("status"),
        get("workflowType"),
        get("definition"),
        get("correlationId"),
        get("userId"),
        get("wallet"),
        get("startedAt") or "",
        orjson.dumps(get("labels") or {}).decode(),
        orjson.dumps(document).decode(),
        _codes(get("incidents")),
        get("tenant"),
    )


def _codes(incidents: Sequence[Document] | None) -> str | None:
    return orjson.dumps([each["code"] for each in incidents]).decode() if incidents else None

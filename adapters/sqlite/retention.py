"""Trimming of the embedded topics."""

from __future__ import annotations

from collections.abc import Mapping
from types import MappingProxyType

from conveyor.topics import COMMANDS, EVENTS, REPLIES, SYSTEM_COMMANDS, step_requests

from adapters.sqlite.store import SqliteStore
from adapters.sqlite.topics import Topic
from adapters.sqlite.writer import Statement

#: Records kept of a topic without consumers.
KEPT_RECORDS = 10_000
#: Records kept even if every consumer has read them, by topic.
KEPT_ALWAYS: Mapping[str, int] = MappingProxyType({EVENTS: 100_000})

#: Topics whose messages are kept for their only receiver, even if it has not begun to read.
_ADDRESSED = (COMMANDS, REPLIES, SYSTEM_COMMANDS)

#: Rows that one group deletes, so that trimming never delays other groups for long.
_ROWS_AT_ONCE = 500

_CONSUMED = "SELECT min(next_offset) FROM consumer_offsets WHERE topic = ? AND topic_id = ?"
_TRIM = """
DELETE FROM record_batches WHERE rowid IN (
    SELECT rowid FROM record_batches WHERE topic = ?1 AND first_offset + count <= ?2
    AND first_offset < (SELECT max(first_offset) FROM record_batches WHERE topic = ?1)
    ORDER BY first_offset LIMIT ?3)
"""
_TRIM_CAUSES = """
DELETE FROM causes WHERE (topic_id, partition, offset, commit_key) IN (
    SELECT topic_id, partition, offset, commit_key FROM causes
    WHERE topic_id = ?1 AND partition = 0 AND offset < ?2 LIMIT ?3)
"""


async def trim(
    store: SqliteStore,
    kept_records: int = KEPT_RECORDS,
    kept_always: Mapping[str, int] = KEPT_ALWAYS,
) -> int:
    """Delete what every consumer of the topic has finished. Returns the number of deleted batches.

    A topic without consumers keeps its newest `kept_records`. The newest batch of a topic is
    always kept, because it shows where the topic continues.
    """
    deleted = 0
    for topic in list(store.topics.values()):
        consumed = (await store.query(_CONSUMED, (topic.name, topic.id)))[0][0]
        below = _deletable(topic, consumed, kept_records, kept_always)
        deleted += await _delete(store, _TRIM, topic.number, below)
        if consumed is not None:
            await _delete(store, _TRIM_CAUSES, topic.id, consumed)
    return deleted


def _deletable(
    topic: Topic, consumed: int | None, kept_records: int, kept_always: Mapping[str, int]
) -> int:
    """The offset below which records may go."""
    if topic.name in kept_always:
        below = topic.end - kept_always[topic.name]
        return below if consumed is None else min(below, consumed)
    if consumed is not None:
        return consumed
    if topic.name in _ADDRESSED or topic.name.startswith(step_requests("")):
        return 0
    return topic.end - kept_records


async def _delete(store: SqliteStore, sql: str, owner: int | str, below: int) -> int:
    deleted = 0
    while below > 0:
        changed = (await store.write([Statement(sql, [(owner, below, _ROWS_AT_ONCE)])]))[0]
        deleted += changed
        if changed < _ROWS_AT_ONCE:
            break
    return deleted

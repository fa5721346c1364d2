"""The event log of the embedded mode, and why a batch is one transaction.

`SqliteEventLog.append` only keeps the commits in the engine's session and returns which of them are new.
`SqliteEnginePublisher.publish`, which follows in the same task, writes commits and messages as one group. When the
process dies
- before `publish`, or before its transaction is flushed: neither commits nor messages are stored. The inbox
  delivers the same messages again, or their senders do if those were not flushed either (ADR 20), and they are
  decided as if for the first time;
- after the flush: both are stored. The inbox delivers the messages again (offsets are stored later), the instances
  recognise their positions, and the outputs are published again with the same ids.

The log is never written without its messages.

The result of `append` is correct because only this process writes the file, and only the session writes the log: a
commit that is neither in the table nor waiting to be written does not exist. After a failed publication the session is
stopped until the inbox was restarted, since the engine's state is then ahead of the log.
"""

from __future__ import annotations

from collections.abc import Collection, Coroutine, Mapping, Sequence
from itertools import chain
from typing import Any

import orjson
from conveyor.messages import Message, Record

from adapters.sqlite.schema import commit_key, split_key
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.writer import Row, Statement
from application.aggregates.aggregate import Catalog
from application.aggregates.catalog import CATALOG
from application.codec.commits import entry_from_document, entry_to_document
from application.ports import Commit, Entry, Unavailable
from domain.aggregate.position import Position

_INSERT_COMMITS = "INSERT INTO commits (key, last_version, partition, entries) VALUES {values}"
_INSERT_CAUSES = "INSERT INTO causes (topic_id, partition, offset, commit_key) VALUES {values}"
_INSERT_INBOX_MESSAGES = (
    "INSERT OR IGNORE INTO inbox_messages (instance, message_id, commit_key) VALUES {values}"
)

_LAST_VERSIONS = """
SELECT i.id, coalesce((SELECT max(last_version, key & 0xffffffff) FROM commits
                       WHERE key > i.number << 32 AND key < (i.number + 1) << 32
                       ORDER BY key DESC LIMIT 1), 0)
FROM json_each(?) AS wanted JOIN instances AS i ON i.id = wanted.value
"""
_EXISTING = "SELECT key FROM commits WHERE key IN (SELECT value FROM json_each(?))"
_NEWER = """
SELECT i.id, c.key, c.partition, c.entries
FROM json_each(?) AS wanted JOIN instances AS i ON i.id = wanted.key
JOIN commits AS c ON c.key > (i.number << 32) + wanted.value AND c.key < (i.number + 1) << 32
ORDER BY c.key
"""
_SINCE = """
SELECT i.id, c.key, c.partition, c.entries FROM commits AS c
JOIN instances AS i ON i.number = c.key >> 32
WHERE c.key IN (
    SELECT commit_key FROM json_each(?) AS start JOIN causes
    ON topic_id = json_extract(start.value, '$[0]')
    AND partition = json_extract(start.value, '$[1]')
    AND offset >= json_extract(start.value, '$[2]')
) ORDER BY i.id, c.key
"""
_HISTORY = """
SELECT i.id, c.key, c.partition, c.entries FROM instances AS i JOIN commits AS c
ON c.key >= coalesce((SELECT max(key) FROM commits
                      WHERE key > i.number << 32 AND key <= (i.number << 32) + :after + 1),
                     i.number << 32)
AND c.key < (i.number + 1) << 32
WHERE i.id = :id AND c.last_version > :after ORDER BY c.key LIMIT :limit
"""
_MENTIONING = """
SELECT i.id, c.key, c.partition, c.entries FROM instances AS i
JOIN commits AS c ON c.key > i.number << 32 AND c.key < (i.number + 1) << 32
WHERE i.id = ? AND EXISTS (SELECT 1 FROM json_each(?) AS wanted WHERE instr(c.entries, wanted.value))
ORDER BY c.key
"""
_ANSWERING = """
SELECT DISTINCT i.id, c.key, c.partition, c.entries FROM json_each(?) AS wanted
JOIN instances AS i ON i.id = ?
JOIN inbox_messages AS m ON m.instance = i.number AND m.message_id = wanted.value
JOIN commits AS c ON c.key = m.commit_key
"""
_WITH_COMMITS = """
SELECT i.id FROM json_each(?) AS wanted JOIN instances AS i ON i.id = wanted.value
WHERE EXISTS (SELECT 1 FROM commits WHERE key > i.number << 32 AND key < (i.number + 1) << 32)
"""

#: How many instances' last versions are kept in memory. When there are more, all are dropped.
_REMEMBERED = 16_384


class EngineSession:
    """The state that the engine's log, publisher and inbox share: the commits that `publish` will write."""

    def __init__(self, store: SqliteStore, catalog: Catalog = CATALOG) -> None:
        self.store = store
        self.catalog = catalog
        self.pending: list[Commit] = []
        #: The commits that are pending or being written to the file, by id.
        self.unwritten: dict[str, Commit] = {}
        #: The highest version of recently written instances, including unwritten commits.
        self.last_versions: dict[str, int] = {}
        #: Why the last publication failed; None if it did not.
        self._fault: str | None = None

    def require_running(self) -> None:
        """Raises `Unavailable` after a failed publication, or when what was taken from the inbox could not
        be written, until the inbox was restarted."""
        fault = self._fault or self.store.halted
        if fault is not None:
            raise Unavailable("eventStore", f"{fault}; restart the partitions")

    def restart(self) -> None:
        """Forget everything that is not in the file."""
        self.pending.clear()
        self.unwritten.clear()
        self.last_versions.clear()
        self._fault = None
        self.store.go_on()

    def write(self, messages: Sequence[Message | Record]) -> Coroutine[Any, Any, None]:
        """Write the commits that are pending now and these messages as one group."""
        commits, self.pending = self.pending, []
        return self._write(commits, messages)

    async def _write(self, commits: Sequence[Commit], messages: Sequence[Message | Record]) -> None:
        self.require_running()
        ids = {commit.aggregate_id for commit in commits}
        if commits or messages:
            try:
                await self.store.write(self._statements(commits, ids), messages, ids)
            # Also when cancelled. The next caller must see the fault, perhaps before the caller of this write does.
            except BaseException as error:
                is_known = isinstance(error, Unavailable)
                self._fault = error.detail if is_known else "a write was given up"
                raise
            for commit in commits:
                self.unwritten.pop(commit.id, None)

    def _statements(self, commits: Sequence[Commit], ids: Collection[str]) -> Sequence[Statement]:
        if not commits:
            return ()
        numbers = self.store.instances.number(ids)
        rows: list[Row] = []
        causes: list[Row] = []
        answered: list[Row] = []
        for commit in commits:
            number = numbers[commit.aggregate_id]
            key = commit_key(number, commit.first_version)
            rows.append((key, commit.last_version, commit.partition, encode_entries(commit)))
            causes.extend((*lane, offset, key) for lane, offset in _highest_causes(commit).items())
            if self.catalog.of(commit.aggregate_id).is_coordinator:
                answered.extend((number, entry.message_id, key) for entry in commit.entries)
        statements = [Statement(_INSERT_COMMITS, rows), Statement(_INSERT_CAUSES, causes)]
        if answered:
            statements.append(Statement(_INSERT_INBOX_MESSAGES, answered))
        return statements


class SqliteEventLog:
    """`EventLog` on the tables `commits` and `causes`."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session
        self._store = session.store

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        session = self._session
        session.require_running()
        last_versions = session.last_versions
        if len(last_versions) > _REMEMBERED and not session.unwritten:
            last_versions.clear()
        # Not a difference of sets, which would traverse everything that is remembered.
        await self._learn([c.aggregate_id for c in commits if c.aggregate_id not in last_versions])
        existing = await self._existing(
            [c for c in commits if c.first_version <= last_versions[c.aggregate_id]]
        )
        answers: list[bool] = []
        for commit in commits:
            commit_id = commit.id
            is_new = commit_id not in existing and commit_id not in session.unwritten
            if is_new:
                session.pending.append(commit)
                session.unwritten[commit_id] = commit
                last_versions[commit.aggregate_id] = max(
                    last_versions[commit.aggregate_id], commit.first_version, commit.last_version
                )
            answers.append(is_new)
        return answers

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        rows = await self._store.by_keys(_NEWER, after)
        chains: dict[str, list[Commit]] = {}
        next_versions = {aggregate_id: version + 1 for aggregate_id, version in after.items()}
        for commit in map(commit_from_row, rows):
            if commit.first_version == next_versions[commit.aggregate_id]:
                chains.setdefault(commit.aggregate_id, []).append(commit)
                next_versions[commit.aggregate_id] = commit.last_version + 1
        return chains

    async def since(self, starts: Sequence[Position]) -> Sequence[Commit]:
        wanted = [(start.topic_id, start.partition, start.offset) for start in starts]
        rows = await self._store.query(_SINCE, (orjson.dumps(wanted).decode(),))
        return [commit_from_row(row) for row in rows]

    async def history(self, aggregate_id: str, after_version: int, limit: int) -> Sequence[Commit]:
        parameters = {"id": aggregate_id, "after": after_version, "limit": limit}
        return [commit_from_row(row) for row in await self._store.query(_HISTORY, parameters)]

    async def find_messages(
        self, aggregate_id: str, message_ids: Collection[str]
    ) -> Mapping[str, Entry]:
        unwritten = [c for c in self._session.unwritten.values() if c.aggregate_id == aggregate_id]
        rows = await self._mentioning(aggregate_id, message_ids)
        commits = chain(map(commit_from_row, rows), unwritten)
        entries = (entry for commit in commits for entry in commit.entries)
        return {entry.message_id: entry for entry in entries if entry.message_id in message_ids}

    async def _mentioning(self, aggregate_id: str, message_ids: Collection[str]) -> list[Any]:
        """Rows of the commits in which an entry may be caused by these messages."""
        if self._session.catalog.of(aggregate_id).is_coordinator:
            return await self._store.by_keys(_ANSWERING, list(message_ids), aggregate_id)
        wanted = orjson.dumps([orjson.dumps(each).decode() for each in message_ids]).decode()
        return await self._store.query(_MENTIONING, (aggregate_id, wanted))

    async def confirm_absent(self, aggregate_ids: Sequence[str]) -> frozenset[str]:
        rows = await self._store.by_keys(_WITH_COMMITS, aggregate_ids)
        return frozenset(aggregate_ids).difference(row[0] for row in rows)

    async def _learn(self, ids: Sequence[str]) -> None:
        """Look up the last versions of these ids."""
        if ids:
            rows = await self._store.by_keys(_LAST_VERSIONS, ids)
            last_versions = self._session.last_versions
            last_versions.update(dict.fromkeys(ids, 0))
            last_versions.update(rows)

    async def _existing(self, suspects: Sequence[Commit]) -> set[str]:
        """The ids of those suspects that are in the file."""
        if not suspects:
            return set()
        numbers = self._store.instances.find({commit.aggregate_id for commit in suspects})
        keys = {
            commit_key(numbers[commit.aggregate_id], commit.first_version): commit.id
            for commit in suspects
            if commit.aggregate_id in numbers
        }
        rows = await self._store.by_keys(_EXISTING, list(keys))
        return {keys[row[0]] for row in rows}


def encode_entries(commit: Commit) -> str:
    """The entries of a commit as JSON."""
    documents = [entry_to_document(entry, orjson.Fragment) for entry in commit.entries]
    return orjson.dumps(documents).decode()


def commit_from_row(row: tuple[str, int, int, str]) -> Commit:
    """The commit of an instance's id, its key, its partition and its entries."""
    aggregate_id, key, partition, entries = row
    return Commit(
        aggregate_id=aggregate_id,
        first_version=split_key(key)[1],
        partition=partition,
        entries=tuple(map(entry_from_document, orjson.loads(entries))),
    )


def _highest_causes(commit: Commit) -> dict[tuple[str, int], int]:
    highest: dict[tuple[str, int], int] = {}
    for entry in commit.entries:
        cause = entry.cause
        if cause.offset >= highest.get(cause.lane, 0):
            highest[cause.lane] = cause.offset
    return highest

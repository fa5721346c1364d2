"""The embedded store: one SQLite file for event log, topics, projections and key records.

Writes are groups that are committed together (`writer.py`), in the writer thread or, few of them on a quick disk,
in the event loop (ADR 32). Reads see every commit
made before them: look-ups of rows by their keys run in the event loop, since 3 µs are less than
the 100 µs that a change of threads takes; scans run in a thread of their own.

The engine's inbox is read ahead (ADR 20): it gets a command or a reply when its write is submitted, and
what it decides goes into the same transaction or a later one. Groups are written in the order of their
submission, so what was decided is never on disk without what it was decided from. Everybody else sees
records, states and outcomes that are on disk. If records that were shown cannot be written, nothing is
until the inbox has begun again (`go_on`).
"""

from __future__ import annotations

import asyncio
import sqlite3
import time
import uuid
from collections.abc import Callable, Collection, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, closing
from datetime import UTC, datetime
from pathlib import Path
from typing import Any, TypeVar

import orjson
from conveyor.messages import Message, Record
from conveyor.topics import COMMANDS, REPLIES

from adapters.sqlite.batches import Batch, pack, unpack
from adapters.sqlite.file import FileLock, open_reader, open_writer
from adapters.sqlite.instances import Instances
from adapters.sqlite.topics import TAIL_BYTES, Consumer, Topic, part
from adapters.sqlite.writer import (
    Group,
    Outcome,
    PackedBatch,
    Statement,
    Writer,
    as_unavailable,
    detail_of,
)
from application.ports import Unavailable

T = TypeVar("T")

#: Topics that nobody reads but the engine's inbox, which reads them ahead.
_AHEAD = frozenset({COMMANDS, REPLIES})

#: A group is handed to the writer that many turns of the event loop later. What is decided from records that
#: it shows ahead comes within them, and is written with the same flush.
_TURNS = 5

#: A write within these limits takes less time than handing it to the writer thread and back, if the disk is quick.
#: The event loop then stands still for one flush.
_FEW_ROWS = 24
_FEW_BYTES = 64 * 1024
_QUICK_SECONDS = 0.001

#: More keys than that are looked up in the reading thread, so as not to hold up the event loop.
_LOOK_UPS_AT_ONCE = 200

_TOPICS = """
SELECT number, name, id,
       coalesce((SELECT first_offset + count FROM record_batches
                 WHERE topic = number ORDER BY first_offset DESC LIMIT 1), 0)
FROM topics
"""
_CREATE_TOPIC = Statement("INSERT INTO topics (number, name, id) VALUES (?, ?, ?)", ())
_BATCHES_FROM = """
SELECT first_offset, appended_ms, content FROM record_batches
WHERE topic = :topic AND first_offset >= coalesce(
    (SELECT max(first_offset) FROM record_batches
     WHERE topic = :topic AND first_offset <= :offset), 0)
ORDER BY first_offset
"""


class SqliteStore:
    """One open database file, used from one event loop."""

    def __init__(
        self, path: Path, max_pages: int | None = None, tail_bytes: int = TAIL_BYTES
    ) -> None:
        """Open the file, or create it; call this in the event loop that will use it.

        `max_pages` limits the size of the file in pages of 4 KiB, `tail_bytes` the memory for the
        unread records of each topic. Raises `UnusableFileError`, of it `FileInUseError`.
        """
        self._loop = asyncio.get_running_loop()
        with ExitStack() as refused:
            self._lock = FileLock(path)
            refused.callback(self._lock.release)
            writing = refused.enter_context(closing(open_writer(path, max_pages)))
            self._lookups = refused.enter_context(closing(open_reader(path)))
            self._scans = refused.enter_context(closing(open_reader(path)))
            rows = self._lookups.execute(_TOPICS).fetchall()
            # They stay open only where nothing was raised.
            refused.pop_all()
        self._scanner = ThreadPoolExecutor(1, thread_name_prefix="sqlite-reader")
        self._tail_bytes = tail_bytes
        self._topics = {row[1]: self._known(*row) for row in rows}
        self._by_number = {topic.number: topic for topic in self._topics.values()}
        self._creating = asyncio.Lock()
        self._is_closing = False
        #: Groups on their way to the writer.
        self._collected: list[Group] = []
        #: How many groups the writer thread has not reported yet.
        self._submitted = 0
        #: How many times records that were shown had to be taken back.
        self._epoch = 0
        #: Why records were taken back that somebody may have read; None while all is well.
        self.halted: str | None = None
        self.instances = Instances(self._lookups)
        ends = {topic.number: topic.end for topic in self._topics.values()}
        self._writer = Writer(writing, ends, self._report)

    async def close(self) -> None:
        """Write what was submitted and let go of the file."""
        self._is_closing = True
        self._hand_over()
        await asyncio.to_thread(self._writer.close)
        await asyncio.to_thread(self._scanner.shutdown)
        self._lookups.close()
        self._scans.close()
        self._lock.release()

    # -- writing -------------------------------------------------------------------------------

    async def write(
        self,
        statements: Sequence[Statement] = (),
        messages: Sequence[Message | Record] = (),
        instances: Collection[str] = (),
    ) -> list[int]:
        """Commit statements and messages as one group. Returns the rows changed by each statement.

        `instances` are the ids whose numbers the statements use. The messages are on disk and their
        readers woken when this returns. Raises `Unavailable` when nothing was written.
        """
        batches = await self._pack(messages) if messages else ()
        numbering = self.instances.insertion(instances)
        if numbering is not None:
            statements = [*statements, numbering]
        if self._is_closing:
            raise Unavailable("eventStore", "the store is being closed")
        if self.halted is not None:
            raise Unavailable("eventStore", f"{self.halted}; the engine begins again")
        for packed in batches:
            if packed.is_shown:
                self._by_number[packed.topic].show_ahead(packed.batch)
        done: asyncio.Future[list[int]] = self._loop.create_future()
        self._collect(Group(statements, batches, numbering, self._epoch, done))
        return await done

    def _collect(self, group: Group) -> None:
        self._collected.append(group)
        if len(self._collected) == 1:
            self._loop.call_soon(self._hand_over, _TURNS - 1)

    def _hand_over(self, turns: int = 0) -> None:
        """Give the writer what was collected, after so many turns of the event loop."""
        if turns > 0:
            self._loop.call_soon(self._hand_over, turns - 1)
        elif self._collected:
            groups, self._collected = self._collected, []
            if self._is_quick(groups):
                self._resolve(self._writer.write(groups))
            else:
                self._submitted += len(groups)
                self._writer.submit(groups)

    def _is_quick(self, groups: Sequence[Group]) -> bool:
        """The writer thread is idle, and these are written sooner without it."""
        return (
            not self._submitted
            and self._writer.last_seconds < _QUICK_SECONDS
            and sum(group.row_count for group in groups) <= _FEW_ROWS
            and sum(group.message_bytes for group in groups) <= _FEW_BYTES
        )

    def go_on(self) -> None:
        """The reader that was ahead has dropped what was taken back, and everything that followed from it."""
        self.halted = None

    async def _pack(self, messages: Sequence[Message | Record]) -> list[PackedBatch]:
        by_topic: dict[str, list[Message | Record]] = {}
        for message in messages:
            records = by_topic.get(message.topic)
            if records is None:
                by_topic[message.topic] = [message]
            else:
                records.append(message)
        now_ms = time.time_ns() // 1_000_000
        at = _moment(now_ms)
        packed: list[PackedBatch] = []
        for name, records in by_topic.items():
            topic = self._topics.get(name) or await self.topic(name)
            content = pack(records)
            batch = Batch(0, 0, at, records, len(content))  # its place is not known yet
            packed.append(PackedBatch(topic.number, batch, now_ms, content, topic.is_ahead))
        return packed

    def _report(self, outcome: Outcome) -> None:
        self._loop.call_soon_threadsafe(self._reported, outcome)

    def _reported(self, outcome: Outcome) -> None:
        self._submitted -= len(outcome)
        self._resolve(outcome)

    def _resolve(self, outcome: Outcome) -> None:
        for group, result in outcome:
            done = group.done
            if isinstance(result, Exception):
                if group.is_shown and group.epoch == self._epoch:
                    self._take_back(detail_of(result))
                if not done.done():
                    done.set_exception(result)
                continue
            for packed in group.batches:
                self._by_number[packed.topic].wrote(packed.batch)
            if group.numbering is not None:
                self.instances.committed(group.numbering)
            if not done.done():
                done.set_result(result)

    def _take_back(self, why: str) -> None:
        self._epoch += 1
        ahead = [topic for topic in self._topics.values() if topic.is_ahead]
        if any(topic.readers for topic in ahead):
            self.halted = why
        for topic in ahead:
            topic.take_back()

    # -- topics --------------------------------------------------------------------------------

    @property
    def topics(self) -> Mapping[str, Topic]:
        """Every topic by name."""
        return self._topics

    async def topic(self, name: str) -> Topic:
        """The topic of this name, created if need be."""
        known = self._topics.get(name)
        # Shielded: a caller that is cancelled must not leave a topic on disk that nobody here knows.
        return known or await asyncio.shield(asyncio.ensure_future(self._create_topic(name)))

    async def _create_topic(self, name: str) -> Topic:
        async with self._creating:
            topic = self._topics.get(name)
            if topic is None:
                number, topic_id = len(self._topics) + 1, str(uuid.uuid4())
                await self.write([_CREATE_TOPIC._replace(rows=[(number, name, topic_id)])])
                topic = self._known(number, name, topic_id, 0)
                self._topics[name] = self._by_number[number] = topic
        return topic

    def _known(self, number: int, name: str, topic_id: str, end: int) -> Topic:
        return Topic(number, name, topic_id, end, self._tail_bytes, is_ahead=name in _AHEAD)

    def consumer(self, starts: Mapping[Topic, int]) -> Consumer:
        """A consumer that begins at these offsets."""
        return Consumer(starts, self._read_batches)

    async def _read_batches(self, topic: Topic, offset: int, limit: int) -> Sequence[Batch]:
        def read(connection: sqlite3.Connection) -> Sequence[Batch]:
            found: list[Batch] = []
            wanted = limit
            rows = connection.execute(_BATCHES_FROM, {"topic": topic.number, "offset": offset})
            for first, at_ms, content in rows:
                if wanted <= 0:
                    break
                records = unpack(topic.name, content)
                end = first + len(records)
                batch = Batch(first, end, _moment(at_ms), records, len(content))
                found.append(part(batch, max(offset, first), wanted))
                wanted -= len(found[-1].records)
            return found

        return await self.scan(read)

    # -- reading -------------------------------------------------------------------------------

    async def by_keys(
        self, sql: str, keys: Mapping[str, Any] | Sequence[Any], *others: str
    ) -> list[Any]:
        """The rows of a query that finds rows by these keys, given to it as one JSON parameter before the others."""
        read = self.query if len(keys) > _LOOK_UPS_AT_ONCE else self._look_up
        return await read(sql, (orjson.dumps(keys).decode(), *others))

    async def query(self, sql: str, parameters: Mapping[str, Any] | Sequence[Any]) -> list[Any]:
        """The rows of a query that may read much."""
        return await self.scan(lambda connection: connection.execute(sql, parameters).fetchall())

    async def _look_up(self, sql: str, parameters: Sequence[Any]) -> list[Any]:
        try:
            return self._lookups.execute(sql, parameters).fetchall()
        except sqlite3.OperationalError as error:
            raise as_unavailable(error) from error

    async def scan(self, read: Callable[[sqlite3.Connection], T]) -> T:
        """What `read` returns, run in the reading thread."""
        try:
            return await self._loop.run_in_executor(self._scanner, read, self._scans)
        except sqlite3.OperationalError as error:
            raise as_unavailable(error) from error


def _moment(epoch_ms: int) -> datetime:
    return datetime.fromtimestamp(epoch_ms / 1000, UTC)

"""The writer: all waiting groups are written in one transaction, with one flush to disk.

A *group* is what must become durable together: the commits, messages and offsets of one caller.
Engine, participants and API submit groups at any time from the event loop; they join the transaction
whose rows are going in, or gather while it is being flushed, so that the flush is paid once for all of them.
The writer has a thread of its own. A few groups that arrive while it is idle may be written in the event
loop instead, which saves two changes of threads (`store.py` decides).

If a transaction fails (the disk is full, a statement is wrong) nothing of it remains, and its
groups are tried again one by one, so that a group fails only for its own reasons. A process that
dies leaves whole transactions, hence whole groups.

The sqlite3 module gives up the interpreter lock around every step of a statement and has to wait
for it afterwards, up to `sys.getswitchinterval()` when the event loop is busy. So rows go in by
few statements of many rows each (`{values}` in `Statement.sql`), not one by one.
"""

from __future__ import annotations

import asyncio
import sqlite3
import threading
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from functools import lru_cache
from itertools import chain
from queue import SimpleQueue
from typing import NamedTuple

from adapters.sqlite.batches import Batch, deflate
from application.ports import Unavailable

SqlValue = str | int | bytes | None
Row = Sequence[SqlValue]

#: The most rows that one statement inserts.
_ROWS_PER_STATEMENT = 128
#: Up to here there is a statement for each number of rows, above for powers of two.
_EXACT_ROWS = 8

_INSERT_BATCHES = (
    "INSERT INTO record_batches (topic, first_offset, count, appended_ms, content) VALUES {values}"
)


class Statement(NamedTuple):
    """SQL and its rows: inserted in bulk where it says `VALUES {values}`, else run once for
    each."""

    sql: str
    rows: Sequence[Row]


class PackedBatch(NamedTuple):
    """A batch on its way to its row, and what the row will hold."""

    topic: int
    batch: Batch
    appended_ms: int
    content: bytes
    #: It was shown ahead and has its offsets; else it gets them when it is written.
    is_shown: bool


@dataclass(slots=True, eq=False)
class Group:
    """Statements and batches that are written together or not at all."""

    statements: Sequence[Statement]
    batches: Sequence[PackedBatch]
    #: The statement among them that inserts new instances.
    numbering: Statement | None
    #: How many times records had been taken back when this was submitted.
    epoch: int
    #: Resolved in the event loop with the number of rows that each statement changed.
    done: asyncio.Future[list[int]]

    @property
    def row_count(self) -> int:
        return sum(len(statement.rows) for statement in self.statements)

    @property
    def message_bytes(self) -> int:
        return sum(len(packed.content) for packed in self.batches)

    @property
    def is_shown(self) -> bool:
        """Some of its records were shown ahead."""
        return any(packed.is_shown for packed in self.batches)


#: Groups with their results, an exception for a group that was not written.
Outcome = Sequence[tuple[Group, list[int] | Exception]]


class Writer:
    """Owns the writing connection and the thread that writes with it."""

    def __init__(
        self,
        connection: sqlite3.Connection,
        topic_ends: dict[int, int],
        report: Callable[[Outcome], None],
    ) -> None:
        """`topic_ends`: the next offsets by topic number; `report` is called in the writer
        thread."""
        self._connection = connection
        self._ends = topic_ends
        self._epoch = 0
        #: What the epoch before ended with.
        self._fault = ""
        self._is_closing = False
        self._report = report
        #: How long the last write took, flush included.
        self.last_seconds = 0.0
        self._queue: SimpleQueue[Sequence[Group] | None] = SimpleQueue()
        self._thread = threading.Thread(target=self._run, name="sqlite-writer", daemon=True)
        self._thread.start()

    def submit(self, groups: Sequence[Group]) -> None:
        """Have the thread write them; it reports the outcome."""
        self._queue.put(groups)

    def write(self, groups: list[Group]) -> Outcome:
        """Write them in the caller's thread. Everything submitted before must have been reported."""
        began = time.monotonic()
        try:
            return list(zip(groups, self._transaction(groups), strict=True))
        except Exception:  # noqa: BLE001 - whose it is, is found out
            return [self._write_alone(group) for group in groups]
        finally:
            self.last_seconds = time.monotonic() - began

    def close(self) -> None:
        """Write what was submitted, then end the thread and close the connection."""
        self._queue.put(None)
        self._thread.join()

    def _run(self) -> None:
        while not self._is_closing:
            groups: list[Group] = []
            self._gather(groups, wait=True)
            if groups:
                self._report(self.write(groups))
        self._connection.close()

    def _gather(self, groups: list[Group], *, wait: bool = False) -> None:
        """Add those that are submitted; with `wait` at least one, or the end of all."""
        while wait or not self._queue.empty():  # nobody else takes from it
            submitted = self._queue.get()
            wait = False
            if submitted is None:
                self._is_closing = True
            else:
                groups.extend(submitted)

    def _write_alone(self, group: Group) -> tuple[Group, list[int] | Exception]:
        try:
            [changed] = self._transaction([group], is_open=False)
        except Exception as error:  # noqa: BLE001 - whatever it is belongs to the caller of the group
            told = as_unavailable(error)
            if group.is_shown and group.epoch == self._epoch:
                self._epoch += 1
                self._fault = detail_of(told)
            return group, told
        return group, changed

    def _transaction(self, groups: list[Group], *, is_open: bool = True) -> list[list[int]]:
        """Write these groups; if it is open, those that are submitted meanwhile join them."""
        self._refuse_stale(groups)
        database = self._connection
        ends = self._ends.copy()
        try:
            database.execute("BEGIN IMMEDIATE")
            changed = [self._execute_all(group) for group in groups]
            if is_open:
                # What follows from a group that was shown ahead comes about now: one flush for both.
                self._gather(groups)
                self._refuse_stale(groups)
                changed += [self._execute_all(group) for group in groups[len(changed) :]]
            rows = [_place(packed, ends) for group in groups for packed in group.batches]
            if rows:
                _execute(database, Statement(_INSERT_BATCHES, rows))
            database.execute("COMMIT")
        except BaseException:  # an interrupt must not leave the transaction open either
            if database.in_transaction:
                database.execute("ROLLBACK")
            raise
        self._ends = ends
        return changed

    def _refuse_stale(self, groups: Sequence[Group]) -> None:
        if any(group.epoch < self._epoch for group in groups):
            raise Unavailable("eventStore", f"{self._fault} (a write before this one)")

    def _execute_all(self, group: Group) -> list[int]:
        return [_execute(self._connection, statement) for statement in group.statements]


def as_unavailable(error: Exception) -> Exception:
    """`Unavailable` for what the disk or the system did, the error itself for a bug."""
    if isinstance(error, sqlite3.OperationalError):
        return Unavailable("eventStore", f"SQLite: {error}")
    return error


def detail_of(error: Exception) -> str:
    """What to tell those who fail because of it."""
    return error.detail if isinstance(error, Unavailable) else f"{type(error).__name__}: {error}"


def _place(packed: PackedBatch, ends: dict[int, int]) -> Row:
    """Give the batch its offsets if it has none yet. Returns its row."""
    batch = packed.batch
    if not packed.is_shown:
        batch.first = ends.get(packed.topic, 0)
        batch.end = ends[packed.topic] = batch.first + len(batch.records)
    return (
        packed.topic,
        batch.first,
        len(batch.records),
        packed.appended_ms,
        deflate(packed.content),
    )


def _execute(database: sqlite3.Connection, statement: Statement) -> int:
    """Run the statement for all its rows. Returns how many rows changed."""
    sql, rows = statement
    if "{values}" not in sql:
        return database.executemany(sql, rows).rowcount
    changed = position = 0
    while position < len(rows):
        size = len(rows) - position
        if size > _EXACT_ROWS:
            size = min(_ROWS_PER_STATEMENT, 1 << size.bit_length() - 1)
        part = rows[position : position + size]
        text = _with_values(sql, len(part[0]), size)
        changed += database.execute(text, tuple(chain.from_iterable(part))).rowcount
        position += size
    return changed


@lru_cache(maxsize=256)
def _with_values(sql: str, columns: int, rows: int) -> str:
    row = f"({','.join('?' * columns)})"
    return sql.replace("{values}", ",".join([row] * rows))

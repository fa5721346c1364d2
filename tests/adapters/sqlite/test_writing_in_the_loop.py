"""Small groups are written in the event loop while the writer thread is idle and the disk is quick (ADR 32)."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Sequence

import pytest

from adapters.sqlite.store import _TURNS, SqliteStore
from adapters.sqlite.writer import Row, Statement

_INSERT = "INSERT INTO settings (name, value) VALUES {values}"

#: What the writer took for a write on a quick and on a slow disk.
_QUICK, _SLOW = 0.0001, 0.005


class Threads:
    """The threads that wrote, a name for each transaction."""

    def __init__(self, store: SqliteStore) -> None:
        self.names: list[str] = []
        self._store = store
        store._writer._connection.set_trace_callback(self._see)

    def _see(self, sql: str) -> None:
        if sql == "COMMIT":
            self.names.append(threading.current_thread().name)

    async def of(self, rows: Sequence[Row], last_seconds: float) -> str:
        """The thread that writes these rows when the last write took so long."""
        self._store._writer.last_seconds = last_seconds
        await self._store.write([Statement(_INSERT, rows)])
        return self.names[-1]


@pytest.fixture
def threads(store: SqliteStore) -> Threads:
    return Threads(store)


def rows(count: int, size: int = 1) -> list[Row]:
    return [(f"row {number}", "x" * size) for number in range(count)]


LOOP = threading.main_thread().name
WRITER = "sqlite-writer"


async def test_a_small_write_to_a_quick_disk_is_made_in_the_event_loop(threads: Threads) -> None:
    assert await threads.of(rows(1), _QUICK) == LOOP


async def test_a_slow_disk_never_holds_the_event_loop_up(threads: Threads) -> None:
    assert await threads.of(rows(1), _SLOW) == WRITER


async def test_many_rows_are_written_by_the_writer_thread(threads: Threads) -> None:
    assert await threads.of(rows(100), _QUICK) == WRITER


async def test_nothing_overtakes_what_the_writer_thread_has(
    store: SqliteStore, threads: Threads
) -> None:
    """The small write comes while the large one is under way; both are on disk, in their order."""
    store._writer.last_seconds = _QUICK
    large = asyncio.create_task(store.write([Statement(_INSERT, rows(100))]))
    for _ in range(_TURNS + 2):  # then the writer has it
        await asyncio.sleep(0)
    store._writer.last_seconds = _QUICK
    await store.write([Statement("UPDATE settings SET value = ? WHERE name = ?", [("y", "row 7")])])
    await large

    assert set(threads.names) == {WRITER}
    assert await store.query("SELECT name FROM settings WHERE value = 'y'", ()) == [("row 7",)]


async def test_the_writer_thread_is_idle_again_after_its_report(threads: Threads) -> None:
    assert await threads.of(rows(100), _QUICK) == WRITER
    assert await threads.of([("one more", "x")], _QUICK) == LOOP


async def test_a_write_that_fails_in_the_event_loop_fails_alone(
    store: SqliteStore, threads: Threads
) -> None:
    store._writer.last_seconds = _QUICK
    good = asyncio.create_task(store.write([Statement(_INSERT, [("good", "x")])]))
    wrong = asyncio.create_task(store.write([Statement("INSERT INTO absent VALUES (1)", [()])]))
    await asyncio.wait({good, wrong})

    assert good.exception() is None
    assert "no such table" in str(wrong.exception())
    assert await store.query("SELECT name FROM settings", ()) == [("good",)]
    assert set(threads.names) == {LOOP}

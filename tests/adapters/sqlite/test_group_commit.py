"""What waits is written in one transaction, and fails each for its own reasons."""

from __future__ import annotations

import asyncio
import sqlite3
from pathlib import Path

import pytest
from conveyor.topics import EVENTS

from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.publisher import SqliteEnginePublisher, SqlitePublisher
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.writer import Statement
from application.ports import Unavailable
from tests.contracts.publisher_contract import event
from tests.contracts.samples import commit

_INSERT = "INSERT INTO settings (name, value) VALUES {values}"


def setting(name: str) -> Statement:
    return Statement(_INSERT, [(name, "x")])


@pytest.fixture
def transactions(store: SqliteStore) -> list[str]:
    """The transactions that the writer commits, as they happen."""
    seen: list[str] = []
    store._writer._connection.set_trace_callback(
        lambda sql: seen.append(sql) if sql == "COMMIT" else None
    )
    return seen


async def test_groups_that_wait_share_a_transaction(
    store: SqliteStore, transactions: list[str]
) -> None:
    """While one transaction is written the groups of all others gather for the next."""
    await store.topic(EVENTS)
    transactions.clear()

    await asyncio.gather(
        *(store.write([setting(str(n))], [event(n)]) for n in range(200)),
    )

    assert 1 <= len(transactions) <= 20
    assert len(await store.query("SELECT name FROM settings", ())) == 200
    assert store.topics[EVENTS].end == 200


async def test_what_follows_at_once_is_written_with_its_cause(
    store: SqliteStore, transactions: list[str]
) -> None:
    """A reply and what is decided from it share one flush, also when nothing else is going on."""

    async def decide() -> None:
        await asyncio.sleep(0)  # the turn in which the engine takes the reply
        await asyncio.sleep(0)
        await store.write([setting("decided")])

    await asyncio.gather(store.write([setting("reply")]), decide())

    assert transactions == ["COMMIT"]


async def test_closing_writes_what_was_handed_in_last(path: Path) -> None:
    """Nothing that was accepted before is lost."""
    store = SqliteStore(path)
    writing = asyncio.ensure_future(store.write([setting("last")]))
    await asyncio.sleep(0)

    await store.close()

    assert await writing == [1]


async def test_a_group_that_fails_does_not_fail_the_others(store: SqliteStore) -> None:
    """Of the groups of one transaction only the wrong one is refused, with its messages."""
    await store.topic(EVENTS)

    outcomes = await asyncio.gather(
        store.write([setting("a")], [event(1)]),
        store.write([setting("b"), setting("b")], [event(2)]),
        store.write([setting("c")], [event(3)]),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], sqlite3.IntegrityError)
    assert [outcomes[0], outcomes[2]] == [[1], [1]]
    assert await store.query("SELECT name FROM settings ORDER BY 1", ()) == [("a",), ("c",)]
    assert store.topics[EVENTS].end == 2


async def test_bulk_statements_write_every_row(store: SqliteStore) -> None:
    """Rows of any number go in, in chunks, and are counted."""
    for count in (1, 2, 127, 128, 129, 1000):
        rows = [(f"{count}-{n}", "x") for n in range(count)]
        assert await store.write([Statement(_INSERT, rows)]) == [count]


async def test_a_batch_of_the_engine_is_one_transaction(
    store: SqliteStore, transactions: list[str]
) -> None:
    """Commits are invisible until their messages are published, then both are there."""
    session = EngineSession(store)
    log, publisher = SqliteEventLog(session), SqliteEnginePublisher(session)
    await store.topic(EVENTS)
    transactions.clear()

    await log.append([commit("wf-1", 1), commit("wf-2", 1)])
    before = await log.read({"wf-1": 0, "wf-2": 0})
    await publisher.publish([event(1), event(2)])

    assert not before
    assert sorted(await log.read({"wf-1": 0, "wf-2": 0})) == ["wf-1", "wf-2"]
    assert store.topics[EVENTS].end == 2
    assert len(transactions) == 1


async def test_a_publication_takes_what_was_appended_before_it_was_called(
    store: SqliteStore,
) -> None:
    """The next batch is appended while this one waits to be written; it goes with its own messages."""
    session = EngineSession(store)
    log, publisher = SqliteEventLog(session), SqliteEnginePublisher(session)
    await store.topic(EVENTS)

    await log.append([commit("wf-1", 1)])
    publishing = publisher.publish([event(1)])
    await log.append([commit("wf-2", 1)])
    await publishing
    first = await log.read({"wf-1": 0, "wf-2": 0})
    await publisher.publish([event(2)])

    assert list(first) == ["wf-1"]
    assert sorted(await log.read({"wf-1": 0, "wf-2": 0})) == ["wf-1", "wf-2"]


async def test_a_failed_publication_stops_the_engine_until_it_restarts(store: SqliteStore) -> None:
    """Nothing may be written on top of commits that were lost; a restart forgets them."""
    session = EngineSession(store)
    log, publisher = SqliteEventLog(session), SqliteEnginePublisher(session)
    await store.topic(EVENTS)
    store._writer._connection.execute("PRAGMA query_only = ON")
    await log.append([commit("wf-1", 1)])
    with pytest.raises(Unavailable, match="readonly"):
        await publisher.publish([event(1)])
    store._writer._connection.execute("PRAGMA query_only = OFF")

    with pytest.raises(Unavailable, match=r"readonly.*restart"):
        await log.append([commit("wf-1", 2)])
    with pytest.raises(Unavailable, match="restart"):
        await publisher.publish([])
    session.restart()

    assert list(await log.append([commit("wf-1", 1)])) == [True]
    await publisher.publish([event(1)])
    assert await log.confirm_absent(["wf-1"]) == frozenset()


async def test_a_cancelled_write_still_reaches_the_readers(store: SqliteStore) -> None:
    """Who gave up waiting does not keep the others from what was written."""
    topic = await store.topic(EVENTS)
    consumer = store.consumer({topic: 0})

    writing = asyncio.create_task(store.write(messages=[event(1)]))
    await asyncio.sleep(0)
    writing.cancel()
    taken = await consumer.take(10, 10.0)

    assert [batch.first for _, batches in taken for batch in batches] == [0]


async def test_writing_to_a_closed_store_is_refused(path: Path) -> None:
    """The caller learns it at once instead of waiting for ever."""
    store = SqliteStore(path)
    await store.close()

    with pytest.raises(Unavailable, match="closed"):
        await SqlitePublisher(store).publish([event(1)])

"""The engine's inbox is read before it is on disk, and nothing that followed from it outlives it (ADR 20)."""

from __future__ import annotations

import asyncio
import sqlite3
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from random import Random

import pytest
from conveyor.messages import Message
from conveyor.topics import COMMANDS, EVENTS, REPLIES

from adapters.sqlite.batches import Batch
from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.inbox import SqliteInbox
from adapters.sqlite.publisher import SqliteEnginePublisher, SqlitePublisher
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.topics import Topic
from adapters.sqlite.writer import Statement
from application.ports import Received, Unavailable
from domain.aggregate.position import TopicPartition
from tests.contracts.inbox_contract import RecordingListener, command, ids
from tests.contracts.publisher_contract import event
from tests.contracts.samples import commit

_INSERT = "INSERT INTO settings (name, value) VALUES {values}"
#: What was decided before a restart is not decided otherwise.
_INSERT_NEW = "INSERT OR IGNORE INTO settings (name, value) VALUES {values}"
_DEADLINE_SECONDS = 30.0
#: Breaks the uniqueness of names: a group that fails for its own reasons.
_WRONG = Statement(_INSERT, [("twice", "x"), ("twice", "x")])


class Engine:
    """Inbox, log and publisher of one engine."""

    def __init__(self, store: SqliteStore) -> None:
        session = EngineSession(store)
        self.inbox = SqliteInbox(session)
        self.listener = RecordingListener()
        self.log = SqliteEventLog(session)
        self.publisher = SqliteEnginePublisher(session)

    async def take(self) -> list[Received]:
        return list(await self.inbox.take(100, 0))


@pytest.fixture
async def engine(store: SqliteStore) -> Engine:
    engine = Engine(store)
    await engine.inbox.start(engine.listener)
    await engine.take()
    return engine


@contextmanager
def held(store: SqliteStore, statement: str) -> Iterator[list[str]]:
    """The writer thread stops before it runs such a statement. Yields all statements that it has run."""
    release = threading.Event()
    seen: list[str] = []

    def see(sql: str) -> None:
        seen.append(sql)
        if sql.startswith(statement):
            release.wait(_DEADLINE_SECONDS)

    store._writer._connection.set_trace_callback(see)
    store._writer.last_seconds = 1.0  # so slow a disk is never written to in the event loop
    try:
        yield seen
    finally:
        release.set()


async def stored(store: SqliteStore) -> list[str]:
    """The names of the settings on disk."""
    return [name for (name,) in await store.query("SELECT name FROM settings ORDER BY 1", ())]


def reply(number: int) -> Message:
    return Message(
        topic=REPLIES,
        key="wf-1",
        type="orchestration.step.completed",
        source="/test",
        id=f"cmd-{number}",
        data=b"{}",
    )


@pytest.mark.parametrize("topic", [COMMANDS, REPLIES])
async def test_the_inbox_is_read_before_it_is_on_disk(
    store: SqliteStore, engine: Engine, topic: str
) -> None:
    """Taken while its write waits for the disk, with the place that it will have."""
    with held(store, "COMMIT"):
        writing = asyncio.create_task(SqlitePublisher(store).publish([command(1, topic=topic)]))
        await asyncio.sleep(0)
        taken = await engine.take()
        assert not writing.done()
        assert store.topics[topic].written == 0
    await writing

    assert [each.position.offset for each in taken] == [0]
    assert store.topics[topic].written == 1
    assert not await engine.take()


async def test_events_are_read_when_they_are_on_disk(store: SqliteStore) -> None:
    """Whoever is not the engine never sees what a failing disk could still take back."""
    consumer = store.consumer({await store.topic(EVENTS): 0})

    with held(store, "COMMIT"):
        writing = asyncio.create_task(SqlitePublisher(store).publish([event(1)]))
        await asyncio.sleep(0)
        assert not await consumer.take(10, 0)
    await writing

    assert await consumer.take(10, 0)


async def test_a_reply_and_what_is_decided_from_it_share_a_transaction(
    store: SqliteStore, engine: Engine
) -> None:
    """One flush for both, though the reply's write had begun."""
    await store.topic(EVENTS)
    with held(store, "INSERT INTO settings") as seen:
        answering = asyncio.create_task(
            store.write([Statement(_INSERT, [("key record", "x")])], [reply(1)])
        )
        await asyncio.sleep(0)
        assert len(await engine.take()) == 1
        await engine.log.append([commit("wf-1", 1)])
        deciding = asyncio.create_task(engine.publisher.publish([event(1)]))
        await asyncio.sleep(0)
    await asyncio.gather(answering, deciding)

    assert seen.count("COMMIT") == 1
    assert await engine.log.confirm_absent(["wf-1"]) == frozenset()


async def test_what_followed_from_a_reply_fails_with_it(store: SqliteStore, engine: Engine) -> None:
    """The decision could be written by itself; without its cause it must not be."""
    with held(store, "INSERT INTO settings"):
        answering = asyncio.create_task(store.write([_WRONG], [reply(1)]))
        await asyncio.sleep(0)
        assert len(await engine.take()) == 1
        await engine.log.append([commit("wf-1", 1)])
        deciding = asyncio.create_task(engine.publisher.publish([event(1)]))
        # An offset beyond the reply would hide the next one in its place.
        committing = asyncio.create_task(engine.inbox.commit({TopicPartition(REPLIES, 0): 1}))
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(answering, deciding, committing, return_exceptions=True)

    assert isinstance(outcomes[0], sqlite3.IntegrityError)
    assert all(isinstance(outcome, Unavailable) for outcome in outcomes[1:])
    assert await engine.log.confirm_absent(["wf-1"]) == {"wf-1"}
    assert store.topics[REPLIES].end == 0
    assert not await store.query("SELECT * FROM consumer_offsets", ())


async def test_who_read_what_was_taken_back_has_to_begin_again(
    store: SqliteStore, engine: Engine
) -> None:
    """Until then nobody writes; then the reply comes in the place of the one that failed."""
    with pytest.raises(sqlite3.IntegrityError):
        await store.write([_WRONG], [reply(1)])

    with pytest.raises(Unavailable, match="restart the partitions"):
        await engine.take()
    with pytest.raises(Unavailable, match="restart the partitions"):
        await engine.log.append([commit("wf-1", 1)])
    with pytest.raises(Unavailable, match="the engine begins again"):
        await engine.inbox.commit({TopicPartition(REPLIES, 0): 1})
    with pytest.raises(Unavailable, match="the engine begins again"):
        await SqlitePublisher(store).publish([reply(2)])

    await engine.inbox.restart([0])
    await SqlitePublisher(store).publish([reply(2)])
    taken = await engine.take()

    assert engine.listener.told == [("assigned", (0,)), ("lost", (0,)), ("assigned", (0,))]
    assert (ids(taken), taken[0].position.offset) == (["cmd-2"], 0)


async def test_who_outlives_an_engine_that_did_not_begin_again_can_write(
    store: SqliteStore, engine: Engine
) -> None:
    """It was stopped before: participants still finish what they have done."""
    with pytest.raises(sqlite3.IntegrityError):
        await store.write([_WRONG], [reply(1)])
    await engine.inbox.close()

    await SqlitePublisher(store).publish([reply(2)])

    assert store.topics[REPLIES].written == 1


async def test_whoever_fails_with_others_is_told_why(store: SqliteStore, engine: Engine) -> None:
    """Operators look for the disk, not for what followed from it."""
    with held(store, "INSERT INTO settings"):
        failing = asyncio.create_task(store.write([_WRONG], [reply(1)]))
        await asyncio.sleep(0)
        behind = asyncio.create_task(SqlitePublisher(store).publish([reply(2)]))
        await asyncio.sleep(0)
    outcomes = await asyncio.gather(failing, behind, return_exceptions=True)
    later = await asyncio.gather(engine.take(), return_exceptions=True)

    assert all("UNIQUE constraint failed" in str(each) for each in (*outcomes, *later))


async def test_what_fails_behind_others_does_not_wait_for_the_file(
    store: SqliteStore,
) -> None:
    """Where each attempt takes the patience of a lock, one is enough for all."""
    await store.topic(REPLIES)
    with held(store, "INSERT INTO settings") as seen:
        failing = asyncio.create_task(store.write([_WRONG], [reply(1)]))
        behind = [asyncio.create_task(SqlitePublisher(store).publish([reply(n)])) for n in range(9)]
        await asyncio.sleep(0)
    await asyncio.gather(failing, *behind, return_exceptions=True)

    # All together, and the one that fails alone.
    assert seen.count("BEGIN IMMEDIATE") == 2


async def test_what_nobody_has_read_is_taken_back_quietly(store: SqliteStore) -> None:
    """Without an engine a failed command is its sender's affair alone."""
    await store.topic(COMMANDS)

    with pytest.raises(sqlite3.IntegrityError):
        await store.write([_WRONG], [command(1)])
    await SqlitePublisher(store).publish([command(2)])

    assert store.topics[COMMANDS].end == store.topics[COMMANDS].written == 1


async def test_a_restart_gives_what_is_not_on_disk_again(
    store: SqliteStore, engine: Engine
) -> None:
    """It does not count as lying there at the assignment: only what is on disk keeps timers back."""
    with held(store, "COMMIT"):
        answering = asyncio.create_task(SqlitePublisher(store).publish([reply(1)]))
        await asyncio.sleep(0)
        first = await engine.take()
        await engine.inbox.restart([0])
        again = await engine.take()
    await answering

    assert ids(first) == ids(again) == ["cmd-1"]
    assert engine.listener.lanes[TopicPartition(REPLIES, 0)].end == 0


def test_what_is_not_on_disk_stays_in_memory() -> None:
    """However little of a topic is kept: the table does not have it yet."""
    topic = Topic(1, REPLIES, "id", 0, tail_bytes=1, is_ahead=True)
    batches = [Batch(0, 0, datetime(2026, 1, 1, tzinfo=UTC), [reply(n)], 100) for n in range(3)]
    for batch in batches:
        topic.show_ahead(batch)

    topic.wrote(batches[0])

    assert topic.tail_start == 1
    assert topic.read(1, 10) == batches[1:]


@pytest.mark.parametrize("seed", range(20))
async def test_nothing_on_disk_lacks_its_cause(store: SqliteStore, seed: int) -> None:
    """Of replies of which some fail at random: every decision's reply is there, and every reply is decided."""
    rng = Random(seed)
    engine = Engine(store)
    await engine.inbox.start(engine.listener)
    decided: set[str] = set()
    lasting: set[str] = set()

    async def answer(number: int) -> None:
        """As a participant: again until it is written, with what fails left out sooner or later."""
        while True:
            wrong = [_WRONG] if rng.random() < 0.2 else []
            try:
                await store.write(wrong, [reply(number)])
            except (Unavailable, sqlite3.IntegrityError):
                await asyncio.sleep(rng.choice([0, 0.001]))
            else:
                return

    async def decide(received: list[Received]) -> None:
        rows = [
            (f"{each.position.offset} {name}", "x")
            for each, name in zip(received, ids(received), strict=True)
        ]
        statements = [Statement(_INSERT_NEW, rows)]
        await store.write(statements, [event(int(name[4:])) for name in ids(received)])
        decided.update(ids(received))

    async def work() -> None:
        while len(decided) < 60:
            try:
                received = await engine.take()
                if received:
                    await decide(received)
                await asyncio.sleep(0)
            except Unavailable:
                await engine.inbox.restart([0])

    async with asyncio.timeout(_DEADLINE_SECONDS):
        await asyncio.gather(work(), *(answer(n) for n in range(60)))
    lasting.update(await stored(store))
    found = await store._read_batches(store.topics[REPLIES], 0, 1000)
    on_disk = [
        f"{offset} {record.id}"
        for batch in found
        for offset, record in enumerate(batch.records, batch.first)
        if isinstance(record, Message)
    ]

    assert lasting == set(on_disk)
    assert [int(each.split()[0]) for each in on_disk] == list(range(60))

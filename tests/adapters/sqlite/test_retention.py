"""Trimming: what everyone has done goes, what anyone may still need stays."""

from __future__ import annotations

import pytest
from conveyor.topics import COMMANDS, EVENTS, step_requests

from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.projections import ENGINE, save_offsets
from adapters.sqlite.publisher import SqliteEnginePublisher, SqlitePublisher
from adapters.sqlite.retention import trim
from adapters.sqlite.store import SqliteStore
from application.ports import InboxStart
from tests.contracts.inbox_contract import command
from tests.contracts.publisher_contract import event
from tests.contracts.samples import commit, position

_OTHER = "inventory.events"


async def fill(store: SqliteStore, topic: str, count: int) -> None:
    for number in range(count):
        await SqlitePublisher(store).publish([command(number, topic=topic)])


async def stored_from(store: SqliteStore, topic: str) -> int:
    """The offset of the oldest record."""
    rows = await store.query(
        "SELECT min(first_offset) FROM record_batches WHERE topic = ?",
        (store.topics[topic].number,),
    )
    return rows[0][0]


async def consumed(store: SqliteStore, consumer: str, topic: str, offset: int) -> None:
    start = InboxStart(topic, 0, store.topics[topic].id, offset)
    await store.write([save_offsets(consumer, [start])])


async def test_a_topic_keeps_what_its_slowest_consumer_needs(store: SqliteStore) -> None:
    """Records below every consumer's offset go, the others stay."""
    await fill(store, COMMANDS, 20)
    await consumed(store, ENGINE, COMMANDS, 15)
    await consumed(store, "audit", COMMANDS, 8)

    deleted = await trim(store)

    assert deleted == 8
    assert await stored_from(store, COMMANDS) == 8


async def test_a_topic_without_consumers_keeps_its_newest(store: SqliteStore) -> None:
    """Nobody reads it, so it is bounded by number."""
    await fill(store, _OTHER, 20)

    await trim(store, kept_records=5)

    assert await stored_from(store, _OTHER) == 15


@pytest.mark.parametrize("topic", [COMMANDS, step_requests("inventory-service")])
async def test_what_waits_for_its_reader_is_never_trimmed(store: SqliteStore, topic: str) -> None:
    """A command or request stays until its reader has begun, however many come."""
    await fill(store, topic, 20)

    assert await trim(store, kept_records=5) == 0


async def test_events_keep_their_number_though_consumed(store: SqliteStore) -> None:
    """Followers of events store no offset and still find the newest."""
    await fill(store, EVENTS, 20)
    await consumed(store, "audit", EVENTS, 20)

    await trim(store, kept_always={EVENTS: 12})

    assert await stored_from(store, EVENTS) == 8


async def test_offsets_go_on_after_everything_was_consumed(store: SqliteStore) -> None:
    """The newest batch stays, so that no offset is given twice after a restart."""
    await fill(store, COMMANDS, 20)
    await consumed(store, ENGINE, COMMANDS, 20)

    await trim(store)

    assert await stored_from(store, COMMANDS) == 19


async def test_a_follower_goes_on_behind_a_trimmed_gap(store: SqliteStore) -> None:
    """One who is slower than the retention continues with the oldest that is left."""
    topic = await store.topic(_OTHER)
    await fill(store, _OTHER, 20)
    consumer = store.consumer({topic: 0})

    await trim(store, kept_records=5)

    [(_, batches)] = await consumer.take(100, 0)
    assert [batch.first for batch in batches] == [15, 16, 17, 18, 19]


async def test_causes_below_the_engines_start_go(store: SqliteStore) -> None:
    """`since` is asked from the stored start on, so older causes are not kept; commits are."""
    session = EngineSession(store)
    log, publisher = SqliteEventLog(session), SqliteEnginePublisher(session)
    await fill(store, COMMANDS, 3)
    topic_id = store.topics[COMMANDS].id
    causes = [position(n) for n in range(3)]
    await log.append(
        [
            commit(f"wf-{n}", 1, cause=type(cause)(topic_id, COMMANDS, 0, 0, n))
            for n, cause in enumerate(causes)
        ]
    )
    await publisher.publish([event(1)])
    await consumed(store, ENGINE, COMMANDS, 2)

    await trim(store)

    start = type(causes[0])(topic_id, COMMANDS, 0, 0, 0)
    assert [found.aggregate_id for found in await log.since([start])] == ["wf-2"]
    assert await log.confirm_absent(["wf-0", "wf-1"]) == frozenset()

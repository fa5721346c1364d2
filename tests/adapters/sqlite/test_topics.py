"""Topics: the tail in memory, and the table behind it."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest
from conveyor.messages import Message, Record
from conveyor.topics import COMMANDS, EVENTS, REPLIES
from conveyor.values import replace

from adapters.sqlite.publisher import SqlitePublisher
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.topics import Consumer
from tests.contracts.inbox_contract import command
from tests.contracts.publisher_contract import event


async def numbers(consumer: Consumer, limit: int = 1000) -> list[int]:
    """The numbers of the events that one `take` gives."""
    return [
        int(record.id.split(":")[1])
        for _, batches in await consumer.take(limit, 0)
        for batch in batches
        for record in batch.records
        if isinstance(record, Message)
    ]


async def test_a_consumer_that_keeps_up_gets_the_published_objects(store: SqliteStore) -> None:
    """Nothing is read from the file and nothing decoded on the way through one process."""
    topic = await store.topic(EVENTS)
    consumer = store.consumer({topic: 0})
    published = event(1)

    await SqlitePublisher(store).publish([published])

    [(_, [batch])] = await consumer.take(10, 0)
    assert batch.records[0] is published


async def test_one_who_fell_behind_the_tail_reads_the_table(path: Path) -> None:
    """Every record comes once and in order, however little of the topic is kept in memory."""
    store = SqliteStore(path, tail_bytes=4_000)
    publisher = SqlitePublisher(store)
    topic = await store.topic(EVENTS)
    slow, quick = store.consumer({topic: 0}), store.consumer({topic: 0})
    seen_slow: list[int] = []
    seen_quick: list[int] = []

    for number in range(0, 600, 6):
        await publisher.publish([event(number + n) for n in range(6)])
        seen_quick += await numbers(quick)
    assert topic.tail_start > 0
    while len(seen_slow) < 600:
        seen_slow += await numbers(slow, limit=7)
    await publisher.publish([event(600)])
    seen_slow += await numbers(slow)

    assert seen_quick == list(range(600))
    assert seen_slow == list(range(601))
    await store.close()


async def test_what_all_have_read_leaves_memory(store: SqliteStore) -> None:
    """A topic keeps nothing for nobody, and only the unread part for its readers."""
    publisher = SqlitePublisher(store)
    topic = await store.topic(EVENTS)
    await publisher.publish([event(1)])
    assert topic.tail_start == topic.end
    consumer = store.consumer({topic: topic.end})
    await publisher.publish([event(2)])
    await consumer.take(10, 0)

    await publisher.publish([event(3)])

    assert topic.tail_start == 2


async def test_a_reopened_topic_goes_on(path: Path) -> None:
    """Name, id and next offset of a topic outlive the process; so do its records."""
    store = SqliteStore(path)
    await SqlitePublisher(store).publish([event(n) for n in range(5)])
    topic_id = store.topics[EVENTS].id
    await store.close()

    reopened = SqliteStore(path)
    topic = reopened.topics[EVENTS]
    await SqlitePublisher(reopened).publish([event(5)])
    consumer = reopened.consumer({topic: 0})

    assert (topic.id, topic.end) == (topic_id, 6)
    assert await numbers(consumer) == list(range(6))
    await reopened.close()


@pytest.mark.parametrize("copies", [1, 100])
async def test_every_kind_of_record_comes_back_from_the_file(path: Path, copies: int) -> None:
    """Messages and records, with and without key, value and headers, in small and large batches."""
    plain = replace(event(1, key=None), extensions={}, headers={}, time=None, subject=None)
    schema = replace(event(2), dataschema="urn:x", data="größer\n".encode())
    raw = Record(topic=EVENTS, key=b"\xff", value=b"\n\x00", headers=(("x", b"\xfe"), ("x", b"")))
    empty = Record(topic=EVENTS, key=None, value=None)
    published = [plain, schema, raw, empty, event(3)] * copies
    store = SqliteStore(path)
    await SqlitePublisher(store).publish(published)
    await store.close()

    reopened = SqliteStore(path)
    consumer = reopened.consumer({reopened.topics[EVENTS]: 0})
    [(_, [batch])] = await consumer.take(10_000, 0)
    await reopened.close()

    assert list(batch.records) == [replace(each, partition=0) for each in published]


async def test_two_topics_share_a_take(store: SqliteStore) -> None:
    """A full topic leaves the other its share of the limit."""
    publisher = SqlitePublisher(store)
    commands, replies = await store.topic(COMMANDS), await store.topic(REPLIES)
    consumer = store.consumer({commands: 0, replies: 0})
    await publisher.publish([command(n) for n in range(50)])
    await publisher.publish([command(n, topic=REPLIES) for n in range(50)])

    taken = await consumer.take(10, 0)

    counts = {topic.name: sum(len(batch.records) for batch in found) for topic, found in taken}
    assert counts == {COMMANDS: 5, REPLIES: 5}


async def test_a_publication_ends_the_wait(store: SqliteStore) -> None:
    """A waiting consumer is woken by the commit, not by its time-out."""
    topic = await store.topic(EVENTS)
    consumer = store.consumer({topic: 0})

    waiting = asyncio.create_task(consumer.take(10, 3600.0))
    await SqlitePublisher(store).publish([event(1)])

    assert len(await asyncio.wait_for(waiting, 30.0)) == 1


async def test_a_topic_is_created_once(store: SqliteStore) -> None:
    """Whoever uses a new topic first, all get the same one."""
    publisher = SqlitePublisher(store)

    topics = await asyncio.gather(
        *(store.topic(EVENTS) for _ in range(5)),
        *(publisher.publish([event(n)]) for n in range(5)),
    )

    assert len({id(topic) for topic in topics if topic is not None}) == 1
    assert store.topics[EVENTS].end == 5

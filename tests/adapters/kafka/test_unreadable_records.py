"""Records that the client library cannot hand out, in a process that has read hundreds of others.

A header name that is not UTF-8 cannot be written with the clients for Python. It is read in a warm
process, because the interpreter reports the library's error elsewhere once the call is specialised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import replace
from pathlib import Path

import pytest
from confluent_kafka import Producer
from conveyor import topics
from conveyor.messages import MalformedEvent
from structlog.testing import capture_logs

from adapters.kafka.feed import KafkaEventFeed
from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.published_events import KafkaPublishedEvents
from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import init_topics
from adapters.partitioner import partition_for
from deploy.local_services.kafka import start_kafka
from tests.adapters.kafka.conftest import PARTITIONS, Topics, unique_settings
from tests.contracts.feed_contract import next_ids
from tests.contracts.inbox_contract import RecordingListener, command, ids, take_exactly, take_until
from tests.contracts.publisher_contract import event
from tests.kafka_wire import produce

pytestmark = pytest.mark.kafka

_COUNT = 400


@pytest.fixture
async def inbox(settings: KafkaSettings) -> AsyncIterator[KafkaInbox]:
    inbox = KafkaInbox(settings, PARTITIONS)
    yield inbox
    await inbox.close()


async def unreadable(settings: KafkaSettings, topic: str) -> None:
    """As `sarama.RecordHeader{Key: []byte("tr\\xe4ger")}` is written, behind the other records of the key."""
    await produce(
        settings.bootstrap_servers,
        settings.on_broker(topic),
        partition_for(b"wf-1", PARTITIONS),
        key=b"wf-1",
        value=b"{}",
        headers=[(b"ce_id", b"1"), (b"tr\xe4ger", b"x"), (b"none", None)],
    )


async def test_the_inbox_hands_it_out_as_malformed(
    inbox: KafkaInbox, settings: KafkaSettings, broker_topics: Topics
) -> None:
    """What can be read of it is kept for the dead letter, and what follows is read."""
    await broker_topics.put(*map(command, range(_COUNT)))
    await unreadable(settings, topics.COMMANDS)
    await broker_topics.put(*map(command, range(_COUNT)))
    await inbox.start(RecordingListener())

    taken = await take_exactly(inbox, 2 * _COUNT + 1)

    [(place, bad)] = [
        (place, each)
        for place, each in enumerate(taken)
        if isinstance(each.message, MalformedEvent)
    ]
    assert place == _COUNT
    assert isinstance(bad.message, MalformedEvent)
    assert bad.message.code == "MALFORMED_EVENT"
    assert "0xe4" in bad.message.detail
    assert (bad.record.key, bad.record.value, bad.record.headers) == (b"wf-1", b"{}", ())


async def test_the_feed_leaves_it_out(settings: KafkaSettings) -> None:
    """Followers see all the events before and after it."""
    feed, publisher = KafkaEventFeed(settings), KafkaPublisher(settings)
    await feed.start()
    following = asyncio.create_task(next_ids(feed.follow(), 2 * _COUNT))
    await asyncio.sleep(0)

    await publisher.publish([event(number) for number in range(_COUNT)])
    await unreadable(settings, topics.EVENTS)
    await publisher.publish([event(number) for number in range(_COUNT, 2 * _COUNT)])

    assert len(await following) == 2 * _COUNT
    await publisher.close()
    await feed.close()


async def test_verify_reads_it_as_malformed(settings: KafkaSettings) -> None:
    """`conveyor verify` sees every published record, this one without its headers."""
    publisher = KafkaPublisher(settings)
    await publisher.publish([event(number) for number in range(_COUNT)])
    await unreadable(settings, topics.EVENTS)
    await publisher.publish([event(number) for number in range(_COUNT, 2 * _COUNT)])
    await publisher.close()
    published = KafkaPublishedEvents(settings)

    found = [each async for each in published.read(await published.ranges())]

    assert len(found) == 2 * _COUNT + 1
    assert sum(isinstance(each.message, MalformedEvent) for each in found) == 1


async def test_a_batch_that_cannot_be_unpacked_stops_its_partition(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """The broker takes a batch that is larger than a client may unpack; the other partitions go on."""
    small = {
        "message.max.bytes": "1000000",
        "fetch.max.bytes": "1000000",
        "receive.message.max.bytes": "2000000",
    }
    inbox, listener = (
        KafkaInbox(replace(settings, properties=small), PARTITIONS),
        RecordingListener(),
    )
    stuck = partition_for(b"wf-1", PARTITIONS)
    other = next(key for n in range(99) if partition_for((key := f"k-{n}").encode(), 4) != stuck)
    await broker_topics.put(command(1), command(2, key=other))
    bomb = Producer(
        settings.client()
        | {
            "partitioner": "murmur2_random",
            "compression.type": "zstd",
            "message.max.bytes": 10_000_000,
        }
    )
    bomb.produce(settings.on_broker(topics.COMMANDS), b"x" * 4_000_000, b"wf-1")
    assert await asyncio.to_thread(bomb.flush, 30) == 0
    await inbox.start(listener)

    with capture_logs() as logs:
        taken = await take_until(inbox, lambda _: ("lost", (stuck,)) in listener.told)
        await broker_topics.put(*(command(number, key=other) for number in range(3, 30)))
        taken += await take_until(inbox, lambda more: "cmd-29" in ids(more))

    assert {f"cmd-{number}" for number in range(2, 30)} <= set(ids(taken))
    [alarm] = [entry for entry in logs if entry["action"] == "inbox.partition_stopped"]
    assert alarm["event"].startswith("ALARM")
    assert alarm["topic"] == settings.on_broker(topics.COMMANDS)
    assert (alarm["partition"], alarm["offset"]) == (stuck, 1)
    assert list(inbox.stopped) == [stuck]
    assert f"offset 1 of {settings.on_broker(topics.COMMANDS)}" in inbox.stopped[stuck]
    assert listener.told == [("assigned", (0, 1, 2, 3)), ("lost", (stuck,))]
    await inbox.close()


@pytest.mark.slow
@pytest.mark.timeout(120)
async def test_a_batch_that_was_damaged_on_disk_stops_its_partition(tmp_path: Path) -> None:
    """A checksum that does not fit is noticed; nothing of the batch is carried out."""
    folder = tmp_path / "broker"
    with start_kafka(folder, is_short_lived=True) as broker:
        settings = unique_settings(broker.address)
        await init_topics(settings, partitions=1)
        await Topics(settings).put(command(1))
        await Topics(settings).put(command(2))
        [segment] = folder.rglob(f"{settings.on_broker(topics.COMMANDS)}-0/*.log")
        content = segment.read_bytes()
        segment.write_bytes(content.replace(b"cmd-2", b"cmd-3"))
        inbox, listener = KafkaInbox(settings, 1), RecordingListener()
        await inbox.start(listener)

        taken = await take_until(inbox, lambda _: ("lost", (0,)) in listener.told)

        assert ids(taken) in ([], ["cmd-1"])
        assert "offset 1 of" in inbox.stopped[0]
        await inbox.close()

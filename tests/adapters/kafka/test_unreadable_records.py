"""Records that the client library cannot hand out, in a process that has read hundreds of others.

A header name that is not UTF-8 cannot be written with the clients for Python. It is read in a warm
process, because the interpreter reports the library's error elsewhere once the call is specialised.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from conveyor import topics
from conveyor.messages import MalformedEvent

from adapters.kafka.feed import KafkaEventFeed
from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.published_events import KafkaPublishedEvents
from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.settings import KafkaSettings
from adapters.partitioner import partition_for
from tests.adapters.kafka.conftest import PARTITIONS, Topics
from tests.contracts.feed_contract import next_ids
from tests.contracts.inbox_contract import RecordingListener, command, take_exactly
from tests.contracts.publisher_contract import event
from tests.kafka_wire import produce

pytestmark = pytest.mark.kafka

_COUNT = 400


@pytest.fixture
async def inbox(settings: KafkaSettings) -> AsyncIterator[KafkaInbox]:
    inbox = KafkaInbox(settings)
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

"""The publisher on a real broker."""

from __future__ import annotations

import threading
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from conveyor import topics
from conveyor.messages import Record

from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.settings import KafkaSettings
from application.ports import Unavailable
from tests.adapters.kafka.conftest import Topics
from tests.contracts.publisher_contract import PublisherContract, PublisherSite, event

_MIB = 1024 * 1024


class KafkaPublisherSite(PublisherSite):
    def __init__(self, settings: KafkaSettings, topics: Topics) -> None:
        self.publisher: KafkaPublisher = KafkaPublisher(settings)
        self._topics = topics

    async def written(self, topic: str, count: int) -> Sequence[Record]:
        return await self._topics.written(topic, count)


@pytest.fixture
async def publisher(settings: KafkaSettings) -> AsyncIterator[KafkaPublisher]:
    publisher = KafkaPublisher(settings)
    yield publisher
    await publisher.close()


@pytest.mark.kafka
class TestKafkaPublisher(PublisherContract):
    @pytest.fixture
    async def site(
        self, settings: KafkaSettings, broker_topics: Topics
    ) -> AsyncIterator[KafkaPublisherSite]:
        site = KafkaPublisherSite(settings, broker_topics)
        yield site
        await site.publisher.close()


@pytest.mark.kafka
async def test_nothing_is_written_behind_a_message_that_the_broker_refuses(
    publisher: KafkaPublisher, broker_topics: Topics
) -> None:
    """A message above the topic's limit ends the call, and later ones of its partition stay out."""
    too_large = Record(topic=topics.REPLIES, key=b"wf-1", value=b"x" * (3 * _MIB))
    small = Record(topic=topics.REPLIES, key=b"wf-1", value=b"small")
    await publisher.publish([small])

    with pytest.raises(Unavailable) as refused:
        await publisher.publish([too_large, small, small])

    assert refused.value.component == "kafka"
    assert sum((await broker_topics.ends(topics.REPLIES)).values()) == 1


@pytest.mark.kafka
async def test_a_publisher_goes_on_after_a_refusal(
    publisher: KafkaPublisher, broker_topics: Topics
) -> None:
    """The next call has a producer of its own and succeeds."""
    too_large = Record(topic=topics.REPLIES, key=b"wf-1", value=b"x" * (3 * _MIB))
    with pytest.raises(Unavailable):
        await publisher.publish([too_large])

    await publisher.publish([event(1)])

    assert len(await broker_topics.written(topics.EVENTS, 1)) == 1


@pytest.mark.kafka
async def test_a_message_above_the_client_limit_is_refused(publisher: KafkaPublisher) -> None:
    """What no topic could take is `Unavailable` as well, and the publisher goes on."""
    with pytest.raises(Unavailable):
        await publisher.publish([Record(topic=topics.DEAD_LETTER, key=None, value=b"x" * 5 * _MIB)])

    await publisher.publish([event(1)])


@pytest.mark.kafka
async def test_a_dead_letter_may_be_larger_than_any_inbox_message(
    publisher: KafkaPublisher, broker_topics: Topics
) -> None:
    """The largest message of the inbox still fits into the dead-letter topic."""
    letter = Record(
        topic=topics.DEAD_LETTER,
        key=b"k",
        value=b"x" * (3 * _MIB),
        headers=(("dlq-reason", b"TOO_LARGE"),),
    )

    await publisher.publish([letter])

    [written] = await broker_topics.written(topics.DEAD_LETTER, 1)
    assert written.value == letter.value


@pytest.mark.kafka
async def test_more_messages_than_the_client_holds(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """A call larger than the client's queue waits for room and loses nothing."""
    settings = KafkaSettings(
        bootstrap_servers=settings.bootstrap_servers,
        topic_prefix=settings.topic_prefix,
        properties={"queue.buffering.max.messages": "100"},
    )
    publisher = KafkaPublisher(settings)

    await publisher.publish([event(number) for number in range(1_000)])

    assert sum((await broker_topics.ends(topics.EVENTS)).values()) == 1_000
    await publisher.close()


@pytest.mark.kafka
async def test_nothing_of_a_call_that_failed_goes_out_later(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """What the client still held when a message of an unknown topic failed is dropped, and its thread ends."""
    settings = replace(
        settings,
        properties={
            # The error comes long before the rest is written: one message at a time.
            "topic.metadata.propagation.max.ms": "10",
            "batch.num.messages": "1",
            "max.in.flight": "1",
        },
    )
    publisher = KafkaPublisher(settings)
    await publisher.publish([event(0)])
    threads = publisher_threads()
    unknown = Record(topic="no.such.topic", key=b"wf-1", value=b"x")

    with pytest.raises(Unavailable):
        await publisher.publish([unknown, *(event(number) for number in range(20_000))])
    await publisher.publish([event(0)])
    written = await events_written(broker_topics)
    for _ in range(100):
        await publisher.publish([event(0)])

    assert written < 20_000
    assert await events_written(broker_topics) == written + 100
    assert publisher_threads() == threads
    await publisher.close()


async def events_written(broker_topics: Topics) -> int:
    return sum((await broker_topics.ends(topics.EVENTS)).values())


def publisher_threads() -> int:
    return sum(thread.name.startswith("kafka-publisher") for thread in threading.enumerate())

"""The feed of events on a real broker."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest
from conveyor import topics
from conveyor.messages import Message, Record

from adapters.kafka.errors import TopicMismatchError
from adapters.kafka.feed import KafkaEventFeed
from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.settings import KafkaSettings
from tests.adapters.kafka.conftest import Topics, unique_settings
from tests.contracts.feed_contract import FeedContract, FeedSite, next_ids
from tests.contracts.publisher_contract import event


class KafkaFeedSite(FeedSite):
    def __init__(self, feed: KafkaEventFeed, publisher: KafkaPublisher) -> None:
        self.feed = feed
        self._publisher = publisher

    async def publish(self, *messages: Message) -> None:
        await self._publisher.publish(messages)


@pytest.fixture
async def feed(settings: KafkaSettings) -> AsyncIterator[KafkaEventFeed]:
    feed = KafkaEventFeed(settings)
    await feed.start()
    yield feed
    await feed.close()


@pytest.mark.kafka
class TestKafkaEventFeed(FeedContract):
    @pytest.fixture
    async def site(
        self, feed: KafkaEventFeed, settings: KafkaSettings
    ) -> AsyncIterator[KafkaFeedSite]:
        publisher = KafkaPublisher(settings)
        yield KafkaFeedSite(feed, publisher)
        await publisher.close()


@pytest.mark.kafka
async def test_a_malformed_record_does_not_end_the_feed(
    feed: KafkaEventFeed, settings: KafkaSettings, broker_topics: Topics
) -> None:
    """What is no CloudEvent is left out."""
    publisher = KafkaPublisher(settings)
    following = asyncio.create_task(next_ids(feed.follow(), 1))
    await asyncio.sleep(0)

    await broker_topics.put(Record(topic=topics.EVENTS, key=b"wf-1", value=b"?"))
    await publisher.publish([event(1)])

    assert await following == ["wf-1:1"]
    await publisher.close()


@pytest.mark.kafka
async def test_closing_the_feed_ends_its_followers(settings: KafkaSettings) -> None:
    """Whoever still waits for events sees the end of the iteration."""
    feed = KafkaEventFeed(settings)
    await feed.start()

    async def follow() -> list[Message]:
        return [message async for message in feed.follow()]

    following = asyncio.create_task(follow())
    await asyncio.sleep(0)
    await feed.close()

    assert await asyncio.wait_for(following, 30) == []


@pytest.mark.kafka
async def test_a_feed_without_its_topic_says_so(kafka_bootstrap: str) -> None:
    """The first step fails when `init` has not run."""
    feed = KafkaEventFeed(unique_settings(kafka_bootstrap))

    with pytest.raises(TopicMismatchError, match="conveyor init"):
        await anext(feed.follow())

    await feed.close()

"""What every `EventFeed` promises. An adapter's tests subclass `FeedContract`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import AsyncIterator

import pytest
from conveyor.messages import Message

from application.ports import EventFeed
from tests.contracts.publisher_contract import event

DEADLINE_SECONDS = 30.0


class FeedSite(ABC):
    """One adapter's feed, started, and a way to publish to it."""

    feed: EventFeed

    @abstractmethod
    async def publish(self, *messages: Message) -> None:
        """Returns when the messages are written."""


async def next_ids(events: AsyncIterator[Message], count: int) -> list[str]:
    """The ids of the next messages."""
    async with asyncio.timeout(DEADLINE_SECONDS):
        return [(await anext(events)).id for _ in range(count)]


@pytest.mark.contract
class FeedContract(ABC):
    """Subclass it as `Test...` and define the fixture `site`, which closes what it opened."""

    @pytest.fixture
    @abstractmethod
    def site(self) -> FeedSite: ...

    async def test_events_published_after_the_first_step_began_arrive(self, site: FeedSite) -> None:
        """A follower that waits gets what is published from then on, in order."""
        following = asyncio.create_task(next_ids(site.feed.follow(), 10))
        await asyncio.sleep(0)

        await site.publish(*(event(number) for number in range(10)))

        assert await following == [f"wf-1:{n}" for n in range(10)]

    async def test_earlier_events_do_not_come(self, site: FeedSite) -> None:
        """What another follower has already seen is not repeated to a later one."""
        first = asyncio.create_task(next_ids(site.feed.follow(), 1))
        await asyncio.sleep(0)
        await site.publish(event(1))
        await first

        second = asyncio.create_task(next_ids(site.feed.follow(), 1))
        await asyncio.sleep(0)
        await site.publish(event(2))

        assert await second == ["wf-1:2"]

    async def test_every_follower_gets_every_event(self, site: FeedSite) -> None:
        """Followers do not take events from each other."""
        following = [asyncio.create_task(next_ids(site.feed.follow(), 5)) for _ in range(3)]
        await asyncio.sleep(0)

        await site.publish(*(event(number) for number in range(5)))

        for ids in await asyncio.gather(*following):
            assert ids == [f"wf-1:{n}" for n in range(5)]

    async def test_events_of_all_keys_arrive_each_in_order(self, site: FeedSite) -> None:
        """The feed covers all partitions and keeps the order of each workflow."""
        keys = [f"wf-{number}" for number in range(20)]
        following = asyncio.create_task(next_ids(site.feed.follow(), 60))
        await asyncio.sleep(0)

        await site.publish(*(event(n, key=key) for n in range(3) for key in keys))

        ids = await following
        for key in keys:
            assert [each for each in ids if each.startswith(f"{key}:")] == [
                f"{key}:{n}" for n in range(3)
            ]

    async def test_a_follower_may_stop_and_leave(self, site: FeedSite) -> None:
        """Closing one iterator leaves the others alone."""
        leaving = site.feed.follow()
        staying = site.feed.follow()
        first = asyncio.gather(next_ids(leaving, 1), next_ids(staying, 1))
        await asyncio.sleep(0)
        await site.publish(event(1))
        await first

        await leaving.aclose()  # type: ignore[attr-defined]
        await site.publish(event(2))

        assert await next_ids(staying, 1) == ["wf-1:2"]

"""The memory broker keeps the messaging contracts of the real ones."""

from __future__ import annotations

from collections.abc import Sequence

import pytest
from conveyor.messages import Message, Record
from conveyor.topics import COMMANDS

from adapters.memory.broker import MemoryBroker
from adapters.memory.feed import MemoryEventFeed
from adapters.memory.inbox import MemoryInbox
from adapters.memory.publisher import MemoryPublisher
from application.ports import Inbox
from tests.contracts.feed_contract import FeedContract, FeedSite
from tests.contracts.inbox_contract import (
    InboxContract,
    InboxSite,
    RecordingListener,
    command,
    ids,
    place_of,
)
from tests.contracts.publisher_contract import PublisherContract, PublisherSite

GROUP = "engines"


class MemoryInboxSite(InboxSite):
    def __init__(self) -> None:
        self.broker = MemoryBroker(partitions=3)
        self.inbox = MemoryInbox(self.broker, GROUP, member="first")

    async def put(self, *records: Record) -> None:
        for record in records:
            self.broker.append(record)

    async def reopen(self) -> Inbox:
        self.broker.group(GROUP).expel("first")
        return MemoryInbox(self.broker, GROUP, member="second")


class TestMemoryInbox(InboxContract):
    @pytest.fixture
    def site(self) -> MemoryInboxSite:
        return MemoryInboxSite()


class MemoryPublisherSite(PublisherSite):
    def __init__(self) -> None:
        self.broker = MemoryBroker(partitions=3)
        self.publisher = MemoryPublisher(self.broker)

    async def written(self, topic: str, count: int) -> Sequence[Record]:
        logs = self.broker.topic(topic).logs
        records = [stored.record for log in logs for stored in log.read(0, log.end)]
        assert len(records) >= count
        return records[:count]


class TestMemoryPublisher(PublisherContract):
    @pytest.fixture
    def site(self) -> MemoryPublisherSite:
        return MemoryPublisherSite()


class MemoryFeedSite(FeedSite):
    def __init__(self) -> None:
        self.broker = MemoryBroker(partitions=3)
        self.feed = MemoryEventFeed(self.broker)

    async def publish(self, *messages: Message) -> None:
        await MemoryPublisher(self.broker).publish(messages)


class TestMemoryFeed(FeedContract):
    @pytest.fixture
    def site(self) -> MemoryFeedSite:
        return MemoryFeedSite()


class TestGroup:
    """Partitions pass from member to member as the port tells it."""

    async def test_a_second_member_gets_its_share_once_the_first_gave_it_up(self) -> None:
        """`revoked` comes before the other's `assigned`, and nobody holds a partition twice."""
        broker = MemoryBroker(partitions=3)
        first, second = RecordingListener(), RecordingListener()
        one = MemoryInbox(broker, GROUP, member="one")
        two = MemoryInbox(broker, GROUP, member="two")
        await one.start(first)
        await one.take(10, 0)

        await two.start(second)
        await two.take(10, 0)
        assert second.told == []
        await one.take(10, 0)
        await two.take(10, 0)

        assert first.told == [("assigned", (0, 1, 2)), ("revoked", (2,))]
        assert second.told == [("assigned", (2,))]

    async def test_a_member_that_left_makes_room(self) -> None:
        """What a closed member held goes to those who stay."""
        broker = MemoryBroker(partitions=2)
        staying = RecordingListener()
        one = MemoryInbox(broker, GROUP, member="one")
        two = MemoryInbox(broker, GROUP, member="two")
        await one.start(RecordingListener())
        await two.start(staying)
        await one.take(10, 0)
        await two.take(10, 0)

        await one.close()
        await two.take(10, 0)

        assert staying.told == [("assigned", (1,)), ("assigned", (0,))]

    async def test_an_expelled_member_is_told_that_its_partitions_are_lost(self) -> None:
        """It learns of it with its next `take`; what it commits before that is dropped."""
        broker = MemoryBroker(partitions=1)
        broker.append(command(1))
        listener, heir = RecordingListener(), RecordingListener()
        one = MemoryInbox(broker, GROUP, member="one")
        await one.start(listener)
        [taken] = await one.take(10, 0)
        broker.group(GROUP).expel("one")
        two = MemoryInbox(broker, GROUP, member="two")
        await two.start(heir)

        await one.commit({place_of(taken): 1})
        again = await two.take(10, 0)
        await one.take(10, 0)

        assert ids(again) == ["cmd-1"]
        assert heir.lanes[place_of(taken)].committed is None
        assert listener.told == [("assigned", (0,)), ("lost", (0,))]

    async def test_a_member_that_comes_back_stands_behind_those_who_stayed(self) -> None:
        """Even if it asks first, it takes nothing of their share."""
        broker = MemoryBroker(partitions=1)
        returning, staying = RecordingListener(), RecordingListener()
        one = MemoryInbox(broker, GROUP, member="one")
        two = MemoryInbox(broker, GROUP, member="two")
        await one.start(returning)
        await one.take(10, 0)
        await two.start(staying)

        broker.group(GROUP).expel("one")
        await one.restart([0])
        await two.take(10, 0)

        assert returning.told == [("assigned", (0,)), ("lost", (0,))]
        assert staying.told == [("assigned", (0,))]

    async def test_a_cut_log_gets_new_records_under_a_new_leader_epoch(self) -> None:
        """The same offset with another record is another position (PROTOCOL rule 11)."""
        broker = MemoryBroker(partitions=1)
        for number in range(3):
            broker.append(command(number))
        inbox = MemoryInbox(broker, GROUP)
        await inbox.start(RecordingListener())
        before = await inbox.take(10, 0)

        broker.topic(COMMANDS).logs[0].elect(2)
        broker.append(command(9))
        await inbox.restart([0])
        after = await inbox.take(10, 0)

        assert ids(after) == ["cmd-0", "cmd-1", "cmd-9"]
        assert after[2].position.offset == before[2].position.offset
        assert after[2].position.order > before[2].position.order

    def test_a_recreated_topic_has_another_id(self) -> None:
        """It is empty, and positions in it are not those of the old one."""
        broker = MemoryBroker()
        broker.append(command(1))
        before = broker.topic(COMMANDS)

        after = broker.recreate(COMMANDS)

        assert after.id != before.id
        assert after.logs[0].end == 0

"""What every `Inbox` promises. An adapter's tests subclass `InboxContract`."""

from __future__ import annotations

import asyncio
import time
from abc import ABC, abstractmethod
from collections.abc import Awaitable, Callable, Sequence

import pytest
from conveyor import topics
from conveyor.messages import MalformedEvent, Message, Record

from application.ports import Assigned, Inbox, LaneState, Received
from domain.aggregate.position import TopicPartition

DEADLINE_SECONDS = 30.0


class InboxSite(ABC):
    """One adapter's inbox of one group, and a way to put records into it past every publisher."""

    #: Not started yet; reads `topics.COMMANDS` and `topics.REPLIES`.
    inbox: Inbox

    @abstractmethod
    async def put(self, *records: Record) -> None:
        """Append the records; without a partition the key chooses it."""

    @abstractmethod
    async def reopen(self) -> Inbox:
        """`inbox` is gone; its successor in the group, not started yet."""


class RecordingListener:
    """Begins where the group stood, and remembers what it was told, in order."""

    def __init__(self) -> None:
        self.told: list[tuple[str, tuple[int, ...]]] = []
        self.lanes: dict[TopicPartition, LaneState] = {}
        #: Answers that differ from where the group stood.
        self.starts: dict[TopicPartition, int] = {}
        #: Partitions that it does not take, and why.
        self.stopped: dict[int, str] = {}
        self.on_revoked: Callable[[Sequence[int]], Awaitable[None]] | None = None

    async def assigned(self, lanes: Sequence[LaneState]) -> Assigned:
        found = {TopicPartition(lane.topic, lane.partition): lane for lane in lanes}
        self.told.append(("assigned", tuple(sorted({lane.partition for lane in lanes}))))
        self.lanes.update(found)
        starts = {place: lane.committed or 0 for place, lane in found.items()} | self.starts
        return Assigned(
            {p: at for p, at in starts.items() if p in found and p.partition not in self.stopped},
            {lane.partition: why for lane in lanes if (why := self.stopped.get(lane.partition))},
        )

    async def revoked(self, partitions: Sequence[int]) -> None:
        if self.on_revoked is not None:
            await self.on_revoked(partitions)
        self.told.append(("revoked", tuple(sorted(partitions))))

    async def lost(self, partitions: Sequence[int]) -> None:
        self.told.append(("lost", tuple(sorted(partitions))))


def command(number: int, *, key: str = "wf-1", topic: str = topics.COMMANDS) -> Record:
    """A well-formed CloudEvent in binary mode."""
    return Record(
        topic=topic,
        key=key.encode(),
        value=b'{"reason":"test"}',
        headers=(
            ("ce_specversion", b"1.0"),
            ("ce_id", f"cmd-{number}".encode()),
            ("ce_source", b"/test"),
            ("ce_type", b"orchestration.workflow.pause"),
            ("content-type", b"application/json"),
        ),
    )


async def take_until(
    inbox: Inbox, done: Callable[[list[Received]], bool], *, limit: int = 100
) -> list[Received]:
    """Take until the condition holds for all that was taken."""
    taken: list[Received] = []
    deadline = time.monotonic() + DEADLINE_SECONDS
    while not done(taken):
        assert time.monotonic() < deadline, f"only {len(taken)} messages came"
        taken += await inbox.take(limit, 0.2)
    return taken


async def take_exactly(inbox: Inbox, count: int) -> list[Received]:
    """Take `count` messages, and see that there are no more."""
    taken = await take_until(inbox, lambda taken: len(taken) >= count)
    taken += await inbox.take(100, 0.2)
    assert len(taken) == count
    return taken


def ids(received: Sequence[Received]) -> list[str]:
    return [each.message.id for each in received if isinstance(each.message, Message)]


def place_of(received: Received) -> TopicPartition:
    return TopicPartition(received.position.topic, received.position.partition)


async def assigned(inbox: Inbox, listener: RecordingListener) -> None:
    """Wait for the first assignment."""
    await take_until(inbox, lambda _: bool(listener.told))


@pytest.mark.contract
class InboxContract(ABC):
    """Subclass it as `Test...` and define the fixture `site`, which closes what it opened."""

    @pytest.fixture
    @abstractmethod
    def site(self) -> InboxSite: ...

    @pytest.fixture
    def listener(self) -> RecordingListener:
        return RecordingListener()

    async def test_assignment_tells_both_lanes_of_each_partition(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """The listener learns topic id, committed offset and end of every lane, first of all."""
        await site.put(command(1), command(2))

        await site.inbox.start(listener)
        taken = await take_exactly(site.inbox, 2)

        assert [what for what, _ in listener.told] == ["assigned"]
        partitions = listener.told[0][1]
        assert set(listener.lanes) == {
            TopicPartition(topic, partition)
            for topic in (topics.COMMANDS, topics.REPLIES)
            for partition in partitions
        }
        assert all(lane.topic_id for lane in listener.lanes.values())
        assert {lane.committed for lane in listener.lanes.values()} <= {None, 0}
        ends = {place: lane.end for place, lane in listener.lanes.items() if lane.end}
        assert ends == {place_of(taken[0]): 2}

    async def test_messages_arrive_oldest_first_with_their_place(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """Records of one lane come in order, with a position that names where they stand."""
        records = [command(number) for number in range(20)]
        await site.put(*records)

        await site.inbox.start(listener)
        taken = await take_exactly(site.inbox, 20)

        assert ids(taken) == [f"cmd-{number}" for number in range(20)]
        lane = listener.lanes[place_of(taken[0])]
        assert [each.position.offset for each in taken] == list(range(20))
        assert {each.position.topic_id for each in taken} == {lane.topic_id}
        assert {each.position.topic for each in taken} == {topics.COMMANDS}
        assert [each.position.order for each in taken] == sorted(
            each.position.order for each in taken
        )

    async def test_a_record_comes_as_it_was_put(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """Key, value, headers, time and the decoded message of a record are handed on."""
        record = command(1)
        before = time.time()
        await site.put(record)

        await site.inbox.start(listener)
        [received] = await take_exactly(site.inbox, 1)

        assert received.record.topic == record.topic
        assert received.record.key == record.key
        assert received.record.value == record.value
        assert sorted(received.record.headers) == sorted(record.headers)
        assert received.timestamp.utcoffset() is not None
        assert abs(received.timestamp.timestamp() - before) < DEADLINE_SECONDS
        assert isinstance(received.message, Message)
        assert received.message.message_id == "/test cmd-1"
        assert received.message.key == "wf-1"

    async def test_both_topics_are_read(self, site: InboxSite, listener: RecordingListener) -> None:
        """Commands and replies of one key come from the same partition of their topics."""
        await site.put(command(1), command(2, topic=topics.REPLIES))

        await site.inbox.start(listener)
        taken = await take_exactly(site.inbox, 2)

        assert {each.position.topic for each in taken} == {topics.COMMANDS, topics.REPLIES}
        assert len({each.position.partition for each in taken}) == 1

    async def test_a_malformed_record_does_not_hold_up_the_next(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """What is no CloudEvent comes as `MalformedEvent` with its record, in its turn."""
        broken = Record(topic=topics.COMMANDS, key=b"wf-1", value=b"\xff", headers=())
        await site.put(command(1), broken, command(2))

        await site.inbox.start(listener)
        first, second, third = await take_exactly(site.inbox, 3)

        assert ids([first, third]) == ["cmd-1", "cmd-2"]
        assert isinstance(second.message, MalformedEvent)
        assert second.record.value == b"\xff"

    async def test_take_waits_for_the_first_message_only(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """A message that comes during the wait ends it, though the limit is not reached."""
        await site.inbox.start(listener)
        await assigned(site.inbox, listener)

        waiting = asyncio.create_task(site.inbox.take(100, DEADLINE_SECONDS))
        began = time.monotonic()
        await site.put(command(1))
        taken = await waiting

        assert ids(taken) == ["cmd-1"]
        assert time.monotonic() - began < DEADLINE_SECONDS / 2

    async def test_take_answers_nothing_when_nothing_comes(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """After the wait the answer is empty."""
        await site.inbox.start(listener)
        await assigned(site.inbox, listener)

        taken = await site.inbox.take(100, 0.05)

        assert list(taken) == []

    async def test_take_keeps_to_its_limit(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """What is above the limit comes with the next call."""
        await site.put(*(command(number) for number in range(10)))
        await site.inbox.start(listener)

        batches: list[Sequence[Received]] = []
        deadline = time.monotonic() + DEADLINE_SECONDS
        while sum(map(len, batches)) < 10 and time.monotonic() < deadline:
            batches.append(await site.inbox.take(4, 1.0))

        assert max(len(batch) for batch in batches) <= 4
        assert ids([each for batch in batches for each in batch]) == [f"cmd-{n}" for n in range(10)]

    async def test_all_is_handed_out_once_it_was_taken(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """What is still to come is not counted; when all was taken, the lane's end is reached."""
        await site.put(*(command(number) for number in range(10)))
        await site.inbox.start(listener)

        taken = await take_until(site.inbox, lambda taken: len(taken) > 0, limit=4)
        place = place_of(taken[0])
        assert site.inbox.handed_out(place) == taken[-1].position.offset + 1
        await take_exactly(site.inbox, 10 - len(taken))

        ends = {place: lane.end for place, lane in listener.lanes.items()}
        assert ends[place] == 10
        assert {place: site.inbox.handed_out(place) for place in ends} == ends

    async def test_the_lag_is_what_is_still_to_be_taken(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """It falls to nothing as messages are taken, and grows with new ones."""
        await site.put(*(command(number) for number in range(10)))
        await site.inbox.start(listener)
        taken = await take_until(site.inbox, lambda taken: len(taken) > 0, limit=4)
        assert site.inbox.lag == 10 - len(taken)

        await take_exactly(site.inbox, 10 - len(taken))

        assert site.inbox.lag == 0

    async def test_a_cancelled_take_loses_nothing(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """Messages that a cancelled call had fetched come with the next one."""
        await site.inbox.start(listener)
        await assigned(site.inbox, listener)

        waiting = asyncio.create_task(site.inbox.take(100, 2.0))
        await asyncio.wait([waiting], timeout=0.05)
        waiting.cancel()
        await asyncio.wait([waiting])
        await site.put(*(command(number) for number in range(5)))

        assert ids(await take_exactly(site.inbox, 5)) == [f"cmd-{n}" for n in range(5)]

    async def test_the_listener_decides_where_reading_begins(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """Offsets below the answer are not delivered."""
        await site.put(*(command(number) for number in range(5)))
        await site.inbox.start(listener)
        [first, *_] = await take_exactly(site.inbox, 5)
        listener.starts = {place_of(first): 3}

        await site.inbox.restart([first.position.partition])

        assert ids(await take_exactly(site.inbox, 2)) == ["cmd-3", "cmd-4"]

    async def test_restart_begins_again_at_the_committed_offset(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """A restart is `lost`, then `assigned`, then everything that was not committed."""
        await site.put(*(command(number) for number in range(5)))
        await site.inbox.start(listener)
        [first, *_] = await take_exactly(site.inbox, 5)
        await site.inbox.commit({place_of(first): 2})
        listener.told.clear()

        await site.inbox.restart([first.position.partition])

        partition = (first.position.partition,)
        assert listener.told == [("lost", partition), ("assigned", partition)]
        assert listener.lanes[place_of(first)].committed == 2
        assert ids(await take_exactly(site.inbox, 3)) == ["cmd-2", "cmd-3", "cmd-4"]

    async def test_restart_drops_what_was_fetched_ahead(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """After a restart every message since the committed offset comes exactly once, in order."""
        await site.put(*(command(number) for number in range(50)))
        await site.inbox.start(listener)
        taken = await take_until(site.inbox, lambda taken: len(taken) > 0)

        await site.inbox.restart([taken[0].position.partition])

        assert ids(await take_exactly(site.inbox, 50)) == [f"cmd-{n}" for n in range(50)]

    async def test_a_partition_that_the_listener_stops_is_not_read(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """It is held all the same, and named with the reason. A restart offers it again."""
        await site.put(command(1))
        await site.inbox.start(listener)
        [taken] = await take_exactly(site.inbox, 1)
        partition = taken.position.partition
        listener.stopped = {partition: "it cannot be read"}

        await site.inbox.restart([partition])

        assert await take_exactly(site.inbox, 0) == []
        assert site.inbox.stopped == {partition: "it cannot be read"}
        await site.inbox.restart([])
        assert site.inbox.stopped
        listener.stopped = {}
        await site.inbox.restart([partition])
        assert ids(await take_exactly(site.inbox, 1)) == ["cmd-1"]
        assert not site.inbox.stopped

    async def test_a_successor_begins_at_the_committed_offset(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """After a crash what was not committed comes again, under the same positions."""
        await site.put(*(command(number) for number in range(5)))
        await site.inbox.start(listener)
        taken = await take_exactly(site.inbox, 5)
        await site.inbox.commit({place_of(taken[0]): 3})

        successor = await site.reopen()
        await successor.start(listener)
        again = await take_exactly(successor, 2)

        assert listener.lanes[place_of(taken[0])].committed == 3
        assert [each.position for each in again] == [each.position for each in taken[3:]]

    async def test_a_successor_of_one_who_committed_nothing_gets_everything(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """Taking is not committing."""
        await site.put(*(command(number) for number in range(5)))
        await site.inbox.start(listener)
        taken = await take_exactly(site.inbox, 5)

        successor = await site.reopen()
        await successor.start(listener)

        assert ids(await take_exactly(successor, 5)) == ids(taken)

    async def test_close_lets_the_listener_finish(
        self, site: InboxSite, listener: RecordingListener
    ) -> None:
        """`revoked` is told on close, and what is committed during it counts."""
        await site.put(*(command(number) for number in range(3)))
        await site.inbox.start(listener)
        taken = await take_exactly(site.inbox, 3)

        async def finish(_: Sequence[int]) -> None:
            await site.inbox.commit({place_of(taken[0]): 3})

        listener.on_revoked = finish
        partitions = listener.told[0][1]
        await site.inbox.close()

        assert listener.told == [("assigned", partitions), ("revoked", partitions)]
        successor = await site.reopen()
        listener.on_revoked = None
        await successor.start(listener)
        assert await take_exactly(successor, 0) == []
        await assigned(successor, listener)
        assert listener.lanes[place_of(taken[0])].committed == 3

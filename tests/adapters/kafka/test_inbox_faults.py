"""What the inbox does when its listener, the log or a record is not as it should be."""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Sequence
from dataclasses import replace

import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewPartitions
from conveyor import topics
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.values import replace as changed_message
from structlog.testing import capture_logs

from adapters.kafka.errors import TopicMismatchError
from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.settings import KafkaSettings
from adapters.partitioner import partition_for
from application.ports import Assigned, LaneState, Unavailable
from domain.aggregate.position import TopicPartition
from tests.adapters.kafka.conftest import PARTITIONS, Topics
from tests.contracts.inbox_contract import (
    RecordingListener,
    command,
    ids,
    place_of,
    take_exactly,
    take_until,
)
from tests.waiting import DEADLINE_SECONDS, until

pytestmark = pytest.mark.kafka


@pytest.fixture(params=["classic", "consumer"])
async def inbox(
    request: pytest.FixtureRequest, settings: KafkaSettings
) -> AsyncIterator[KafkaInbox]:
    # Changes of topics are noticed soon.
    properties = {**settings.properties, "topic.metadata.refresh.interval.ms": "500"}
    member = replace(settings, group_protocol=request.param, properties=properties)
    inbox = KafkaInbox(member, PARTITIONS)
    yield inbox
    await inbox.close()


class Hesitating(RecordingListener):
    """Cannot answer the first assignments."""

    def __init__(self, refusals: int) -> None:
        super().__init__()
        self._refusals = refusals

    async def assigned(self, lanes: Sequence[LaneState]) -> Assigned:
        if self._refusals:
            self._refusals -= 1
            raise Unavailable("eventStore", "not yet")
        return await super().assigned(lanes)


async def test_an_assignment_waits_until_the_listener_can_answer(
    inbox: KafkaInbox, broker_topics: Topics
) -> None:
    """`Unavailable` from the listener comes out of `take`; the next one asks again."""
    await broker_topics.put(command(1))

    await inbox.start(Hesitating(refusals=2))

    for _ in range(2):
        with pytest.raises(Unavailable, match="not yet"):
            await take_exactly(inbox, 1)
    assert ids(await take_exactly(inbox, 1)) == ["cmd-1"]


async def test_a_listener_that_never_answers_an_assignment_loses_it(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """After the time-out the partitions are `lost`, and the next `take` offers them again."""

    class Hanging(RecordingListener):
        hangs = True

        async def assigned(self, lanes: Sequence[LaneState]) -> Assigned:
            if self.hangs:
                self.hangs = False
                await asyncio.Event().wait()
            return await super().assigned(lanes)

    inbox = KafkaInbox(replace(settings, rebalance_timeout_seconds=1.0), PARTITIONS)
    listener = Hanging()
    await broker_topics.put(command(1))
    await inbox.start(listener)

    with pytest.raises(Unavailable, match="not answered in time"):
        await take_exactly(inbox, 1)
    assert ids(await take_exactly(inbox, 1)) == ["cmd-1"]

    assert [what for what, _ in listener.told] == ["lost", "assigned"]
    await inbox.close()


async def test_a_start_outside_of_the_log_stops_the_partition(
    inbox: KafkaInbox, broker_topics: Topics
) -> None:
    """No jump to either end: the partition is `lost`, an alarm is logged, the others go on."""
    listener = RecordingListener()
    stuck = partition_for(b"wf-1", PARTITIONS)
    other = next(key for n in range(99) if partition_for((key := f"k-{n}").encode(), 4) != stuck)
    listener.starts = {TopicPartition(topics.COMMANDS, stuck): 1_000}
    await inbox.start(listener)

    with capture_logs() as logs:
        await take_until(inbox, lambda _: ("lost", (stuck,)) in listener.told)
    await broker_topics.put(command(1), command(2, key=other))
    taken = await take_exactly(inbox, 1)

    assert ids(taken) == ["cmd-2"]
    assert list(inbox.stopped) == [stuck]
    alarm = next(entry for entry in logs if entry["action"] == "inbox.partition_stopped")
    assert (alarm["log_level"], alarm["partition"]) == ("error", stuck)


async def test_a_stopped_partition_goes_on_after_a_restart(
    inbox: KafkaInbox, broker_topics: Topics
) -> None:
    """When the start is put right, a restart reads from there and the health is clean."""
    listener = RecordingListener()
    stuck = partition_for(b"wf-1", PARTITIONS)
    listener.starts = {TopicPartition(topics.COMMANDS, stuck): 1_000}
    await inbox.start(listener)
    await take_until(inbox, lambda _: ("lost", (stuck,)) in listener.told)
    await broker_topics.put(command(1))

    listener.starts = {}
    await inbox.restart([stuck])

    assert ids(await take_exactly(inbox, 1)) == ["cmd-1"]
    assert not inbox.stopped


async def test_the_lag_is_known_at_once_while_a_take_waits(
    inbox: KafkaInbox, broker_topics: Topics
) -> None:
    """Health asks for it on the event loop, which must not stand still for the client's poll."""
    listener = RecordingListener()
    await inbox.start(listener)
    waiting = asyncio.create_task(inbox.take(100, DEADLINE_SECONDS))
    await until(lambda: listener.told)

    began = time.monotonic()
    for _ in range(20):
        assert inbox.lag == 0

    assert time.monotonic() - began < 0.5
    assert not waiting.done()
    await broker_topics.put(command(1))
    assert ids(await waiting) == ["cmd-1"]


@pytest.mark.parametrize("grown", [(topics.COMMANDS,), (topics.COMMANDS, topics.REPLIES)])
async def test_added_partitions_stand_still_and_the_others_go_on(
    inbox: KafkaInbox,
    settings: KafkaSettings,
    broker_topics: Topics,
    grown: Sequence[str],
) -> None:
    """Somebody adds a partition while the engine runs: it is said, and refused at the next start."""
    await inbox.start(RecordingListener())
    await take_until(inbox, lambda _: len(inbox._assignment.open()) == PARTITIONS)

    with capture_logs() as logs:
        await add_partition(settings, grown)
        await take_until(inbox, lambda _: bool(inbox.stopped))

    assert list(inbox.stopped) == [PARTITIONS]
    assert f"was added after `conveyor init` made {PARTITIONS}" in inbox.stopped[PARTITIONS]
    alarms = [line for line in logs if line["log_level"] == "error"]
    assert [(line["action"], line["partition"]) for line in alarms] == [
        ("inbox.partition_added", PARTITIONS)
    ]
    for number in range(PARTITIONS + 1):
        await broker_topics.put(changed_message(command(number), partition=number))
    assert sorted(ids(await take_exactly(inbox, PARTITIONS))) == [
        f"cmd-{number}" for number in range(PARTITIONS)
    ]
    later = KafkaInbox(settings, PARTITIONS)
    with pytest.raises(TopicMismatchError, match="conveyor init --partitions"):
        await later.start(RecordingListener())
    await later.close()


async def add_partition(settings: KafkaSettings, names: Sequence[str]) -> None:
    admin = AdminClient(settings.client())
    wanted = [NewPartitions(settings.on_broker(name), PARTITIONS + 1) for name in names]
    for added in admin.create_partitions(wanted).values():
        await asyncio.to_thread(added.result, DEADLINE_SECONDS)


async def test_a_structured_event_is_read(inbox: KafkaInbox, broker_topics: Topics) -> None:
    """The whole CloudEvent may stand in the value."""
    record = Record(
        topic=topics.COMMANDS,
        key=b"wf-1",
        value=b'{"specversion":"1.0","id":"c1","source":"/erp","subject":"wf-1",'
        b'"type":"orchestration.workflow.cancel","data":{"reason":"x"}}',
        headers=(("content-type", b"application/cloudevents+json; charset=utf-8"),),
    )
    await broker_topics.put(record)

    await inbox.start(RecordingListener())
    [received] = await take_exactly(inbox, 1)

    assert isinstance(received.message, Message)
    assert received.message.message_id == "/erp c1"
    assert received.message.data == b'{"reason":"x"}'


async def test_odd_headers_do_not_stop_a_partition(
    inbox: KafkaInbox, broker_topics: Topics
) -> None:
    """A header without a value and one that is no UTF-8 come as a message or as malformed."""
    good = command(1)
    no_value = changed_message(good, headers=(*good.headers, ("x", None)))  # type: ignore[arg-type]
    no_text = changed_message(good, headers=(*good.headers, ("ce_subject", b"\xff")))
    await broker_topics.put(no_value, no_text, command(2))

    await inbox.start(RecordingListener())
    first, second, third = await take_exactly(inbox, 3)

    assert ids([first, third]) == ["cmd-1", "cmd-2"]
    assert ("x", b"") in first.record.headers
    assert isinstance(second.message, MalformedEvent)


async def test_a_key_lands_where_the_engine_expects_it(
    inbox: KafkaInbox, broker_topics: Topics
) -> None:
    """The partition of every received message is the one that `partition_for` computes."""
    await broker_topics.put(*(command(n, key=f"wf-{n}") for n in range(50)))

    await inbox.start(RecordingListener())
    taken = await take_exactly(inbox, 50)

    for received in taken:
        assert received.record.key is not None
        expected = partition_for(received.record.key, PARTITIONS)
        assert received.position.partition == received.record.partition == expected


async def test_a_lane_is_read_to_its_end_also_behind_the_marker_of_a_transaction(
    inbox: KafkaInbox, settings: KafkaSettings, broker_topics: Topics
) -> None:
    """A marker takes an offset and no message follows it; the offsets to commit stay those of the messages."""
    listener = RecordingListener()
    producer = transactional(settings)
    produce(settings, producer, command(1, topic=topics.REPLIES))
    await asyncio.to_thread(producer.commit_transaction)
    await inbox.start(listener)

    [reply] = await take_exactly(inbox, 1)
    place = place_of(reply)
    await take_until(inbox, lambda _: inbox.handed_out(place) == 2)

    assert listener.lanes[place].end == 2
    await inbox.commit({place: reply.position.offset + 1})
    await inbox.restart([place.partition])
    await take_until(inbox, lambda _: inbox.handed_out(place) == 2)
    assert listener.lanes[place].committed == 1
    await broker_topics.put(command(2, topic=topics.REPLIES))
    assert [each.position.offset for each in await take_exactly(inbox, 1)] == [2]


async def test_what_is_in_an_open_transaction_is_not_waited_for(
    inbox: KafkaInbox, settings: KafkaSettings, broker_topics: Topics
) -> None:
    """It is not there until the transaction is committed, and then it comes."""
    listener = RecordingListener()
    await broker_topics.put(command(1, topic=topics.REPLIES))
    producer = transactional(settings)
    produce(settings, producer, command(2, topic=topics.REPLIES))
    await asyncio.to_thread(producer.flush)
    await inbox.start(listener)

    [reply] = await take_exactly(inbox, 1)
    place = place_of(reply)

    assert listener.lanes[place].end == inbox.handed_out(place) == 1
    await asyncio.to_thread(producer.commit_transaction)
    assert ids(await take_exactly(inbox, 1)) == ["cmd-2"]


def transactional(settings: KafkaSettings) -> Producer:
    """A participant's producer, with its transaction begun."""
    producer = Producer(
        {
            **settings.client(),
            "transactional.id": f"{settings.topic_prefix}participant",
            "partitioner": "murmur2_random",
        }
    )
    producer.init_transactions()
    producer.begin_transaction()
    return producer


def produce(settings: KafkaSettings, producer: Producer, record: Record) -> None:
    producer.produce(
        settings.on_broker(record.topic), record.value, record.key, headers=list(record.headers)
    )

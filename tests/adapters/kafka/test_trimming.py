"""Trimming the inbox topics: what store and group are past goes, everything else stays."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from dataclasses import replace

import pytest
from confluent_kafka import Consumer
from confluent_kafka import TopicPartition as Place
from conveyor import topics

from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import describe, inbox_kept_from
from adapters.kafka.trimming import KafkaInboxTrimmer, deletable
from adapters.partitioner import partition_for
from application.ports import InboxStart, Trimmed, Unavailable
from deploy.local_services.process import free_port
from domain.aggregate.position import TopicPartition
from tests.adapters.kafka.conftest import PARTITIONS, Topics, unique_settings
from tests.contracts.inbox_contract import RecordingListener, command, ids, take_exactly

NUMBER = partition_for(b"wf-1", PARTITIONS)
COMMANDS = TopicPartition(topics.COMMANDS, NUMBER)
REPLIES = TopicPartition(topics.REPLIES, NUMBER)

NOTHING = Trimmed(messages=0, failures={})


@pytest.mark.parametrize(
    ("stored", "group", "bound"),
    [(7, 7, 7), (7, 5, 5), (5, 7, 5), (0, 0, 0)],
    ids=["both", "the group is behind", "the store is behind", "nothing done"],
)
def test_the_lower_of_store_and_group_bounds(stored: int, group: int, bound: int) -> None:
    """What only one of them is past may still be somebody's start."""
    starts = [InboxStart(topics.COMMANDS, NUMBER, "id-1", stored)]

    bounds = deletable(starts, {topics.COMMANDS: "id-1"}, {COMMANDS: group})

    assert bounds == {COMMANDS: bound}


def test_without_a_committed_offset_nothing_may_go() -> None:
    """The store alone may be moved on by an engine that lost the partition."""
    starts = [InboxStart(topics.COMMANDS, NUMBER, "id-1", 7)]

    assert deletable(starts, {topics.COMMANDS: "id-1"}, {COMMANDS: None}) == {}
    assert deletable(starts, {topics.COMMANDS: "id-1"}, {}) == {}


@pytest.mark.parametrize("present", [{topics.COMMANDS: "id-2"}, {}], ids=["another", "none"])
def test_positions_of_another_topic_bound_nothing(present: Mapping[str, str]) -> None:
    """Offsets of a topic that was recreated or is gone say nothing about the present one."""
    starts = [InboxStart(topics.COMMANDS, NUMBER, "id-1", 7)]

    assert deletable(starts, present, {COMMANDS: 7}) == {}


async def commit(settings: KafkaSettings, offsets: Mapping[TopicPartition, int]) -> None:
    """As the engines' group."""

    def work() -> None:
        consumer = Consumer({**settings.client(), "group.id": settings.group_id})
        places = [Place(settings.on_broker(t), number, at) for (t, number), at in offsets.items()]
        consumer.commit(offsets=places, asynchronous=False)
        consumer.close()

    await asyncio.to_thread(work)


async def starts_at(
    settings: KafkaSettings, offsets: Mapping[TopicPartition, int]
) -> Sequence[InboxStart]:
    """Stored starts of the topics as they are."""
    found = await describe(settings)
    return [InboxStart(t, number, found[t].id, at) for (t, number), at in offsets.items()]


async def kept_from(settings: KafkaSettings, *lanes: TopicPartition) -> list[int]:
    found = await inbox_kept_from(settings, PARTITIONS)
    return [found[lane] for lane in lanes]


@pytest.mark.kafka
async def test_what_is_done_goes_and_the_rest_stays(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """Both topics, each up to its own bound; a second round finds nothing more to do."""
    commands = [command(number) for number in range(5)]
    replies = [command(number, topic=topics.REPLIES) for number in range(5, 8)]
    await broker_topics.put(*commands, *replies)
    await commit(settings, {COMMANDS: 4, REPLIES: 3})
    starts = await starts_at(settings, {COMMANDS: 3, REPLIES: 3})
    trimmer = KafkaInboxTrimmer(settings)

    trimmed = await trimmer.trim(starts)

    assert trimmed == Trimmed(messages=6, failures={})
    assert await kept_from(settings, COMMANDS, REPLIES) == [3, 3]
    assert (await broker_topics.ends(topics.COMMANDS))[NUMBER] == 5
    assert await trimmer.trim(starts) == NOTHING


@pytest.mark.kafka
async def test_a_stored_start_that_lags_restores_nothing(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """An engine that read the starts long ago does not disturb those that trimmed since."""
    await broker_topics.put(*(command(number) for number in range(5)))
    await commit(settings, {COMMANDS: 5})
    trimmer = KafkaInboxTrimmer(settings)
    await trimmer.trim(await starts_at(settings, {COMMANDS: 4}))

    late = await trimmer.trim(await starts_at(settings, {COMMANDS: 2}))

    assert late == NOTHING
    assert await kept_from(settings, COMMANDS) == [4]


@pytest.mark.kafka
async def test_many_engines_may_trim_at_once(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """All of them succeed, and nothing goes that one alone would have kept."""
    await broker_topics.put(*(command(number) for number in range(5)))
    await commit(settings, {COMMANDS: 3})
    starts = await starts_at(settings, {COMMANDS: 5})

    rounds = await asyncio.gather(*(KafkaInboxTrimmer(settings).trim(starts) for _ in range(4)))

    assert all(not each.failures for each in rounds)
    assert await kept_from(settings, COMMANDS) == [3]


@pytest.mark.kafka
async def test_another_topic_and_another_group_are_left_alone(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """A start of another topic id deletes nothing, nor one of which this group committed nothing."""
    await broker_topics.put(*(command(number) for number in range(5)))
    await commit(settings, {COMMANDS: 5})
    starts = await starts_at(settings, {COMMANDS: 5})

    other_topic = await KafkaInboxTrimmer(settings).trim(
        [replace(start, topic_id="another") for start in starts]
    )
    other_group = await KafkaInboxTrimmer(replace(settings, group_id="another")).trim(starts)

    assert (other_topic, other_group) == (NOTHING, NOTHING)
    assert await kept_from(settings, COMMANDS) == [0]


@pytest.mark.kafka
async def test_topics_that_are_gone_are_no_accident(kafka_bootstrap: str) -> None:
    """The engine says what to do about it; there is nothing to trim."""
    absent = unique_settings(kafka_bootstrap)

    assert await KafkaInboxTrimmer(absent).trim([]) == NOTHING
    assert (
        await KafkaInboxTrimmer(absent).trim([InboxStart(topics.COMMANDS, 0, "id", 5)]) == NOTHING
    )


@pytest.mark.kafka
async def test_one_partition_that_refuses_does_not_hold_up_the_others(
    settings: KafkaSettings, broker_topics: Topics
) -> None:
    """A bound beyond the end, as after the log was cut, deletes nothing there and is told."""
    await broker_topics.put(command(0), command(1), command(2, topic=topics.REPLIES))
    await commit(settings, {COMMANDS: 9, REPLIES: 1})

    trimmed = await KafkaInboxTrimmer(settings).trim(
        await starts_at(settings, {COMMANDS: 9, REPLIES: 1})
    )

    assert trimmed.messages == 1
    assert set(trimmed.failures) == {COMMANDS}
    assert "out of range" in trimmed.failures[COMMANDS].lower()
    assert await kept_from(settings, COMMANDS, REPLIES) == [0, 1]


@pytest.mark.kafka
@pytest.mark.slow
async def test_a_broker_that_is_away_is_unavailable() -> None:
    """The port's error, which the caller tries again after."""
    nobody = unique_settings(f"127.0.0.1:{free_port()}")

    with pytest.raises(Unavailable) as away:
        await KafkaInboxTrimmer(nobody).trim([InboxStart(topics.COMMANDS, 0, "id", 5)])

    assert away.value.component == "kafka"


@pytest.mark.kafka
@pytest.mark.parametrize("protocol", ["classic", "consumer"])
async def test_an_inbox_begins_exactly_where_the_topic_now_begins(
    settings: KafkaSettings, broker_topics: Topics, protocol: str
) -> None:
    """With all deleted and with messages left: the next one is read, none is missing, no alarm."""
    await broker_topics.put(*(command(number) for number in range(3)))
    await broker_topics.put(*(command(number, topic=topics.REPLIES) for number in range(3, 6)))
    await commit(settings, {COMMANDS: 3, REPLIES: 2})
    await KafkaInboxTrimmer(settings).trim(await starts_at(settings, {COMMANDS: 3, REPLIES: 2}))
    assert await kept_from(settings, COMMANDS, REPLIES) == [3, 2]
    inbox = KafkaInbox(replace(settings, group_protocol=protocol), PARTITIONS)  # type: ignore[arg-type]

    await inbox.start(RecordingListener())
    await broker_topics.put(command(6))
    taken = await take_exactly(inbox, 2)

    assert sorted(ids(taken)) == ["cmd-5", "cmd-6"]
    assert inbox.problem is None
    await inbox.close()

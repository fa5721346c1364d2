"""What every `PublishEventPort` promises. An adapter's tests subclass `PublisherContract`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest
from conveyor import topics
from conveyor.cloudevents import decode, encode
from conveyor.messages import Message, Record

from application.ports import PublishEventPort


class PublisherSite(ABC):
    """One adapter's publisher, and a way to see what it wrote."""

    publisher: PublishEventPort

    @abstractmethod
    async def written(self, topic: str, count: int) -> Sequence[Record]:
        """The first `count` records of the topic, in order within each partition."""


def event(number: int, *, key: str | None = "wf-1", partition: int | None = None) -> Message:
    """A domain event."""
    return Message(
        topic=topics.EVENTS,
        key=key,
        type="orchestration.workflow.paused",
        source="/conveyor",
        id=f"{key}:{number}",
        subject=key,
        time="2026-11-21T02:30:00.123Z",
        data=b'{"version":%d}' % number,
        extensions={"correlationid": "corr-1"},
        headers={"hops": b"1"},
        partition=partition,
    )


@pytest.mark.contract
class PublisherContract(ABC):
    """Subclass it as `Test...` and define the fixture `site`, which closes what it opened."""

    @pytest.fixture
    @abstractmethod
    def site(self) -> PublisherSite: ...

    async def test_a_message_is_written_as_a_cloud_event(self, site: PublisherSite) -> None:
        """A message reads back equal, with all of its attributes and headers."""
        message = event(1)

        await site.publisher.publish([message])

        [record] = await site.written(topics.EVENTS, 1)
        assert sorted(record.headers) == sorted(encode(message).headers)
        read = decode(record)
        assert (read.key, read.id, read.type, read.data) == (
            message.key,
            message.id,
            message.type,
            message.data,
        )
        assert dict(read.extensions) == dict(message.extensions)
        assert dict(read.headers) == dict(message.headers)

    async def test_a_record_is_written_as_it_is(self, site: PublisherSite) -> None:
        """A record that is no CloudEvent keeps key, value and headers."""
        record = Record(
            topic=topics.DEAD_LETTER,
            key=b"\xff\x00",
            value=b"\xfe",
            headers=(("dlq-reason", b"MALFORMED_EVENT"), ("x", b"\xff")),
        )

        await site.publisher.publish([record])

        [written] = await site.written(topics.DEAD_LETTER, 1)
        assert (written.key, written.value) == (record.key, record.value)
        assert sorted(written.headers) == sorted(record.headers)

    async def test_a_record_without_key_and_value_is_written(self, site: PublisherSite) -> None:
        """Nothing about a refused message keeps it from the dead-letter topic."""
        await site.publisher.publish([Record(topic=topics.DEAD_LETTER, key=None, value=None)])

        [written] = await site.written(topics.DEAD_LETTER, 1)
        assert (written.key, written.value, written.headers) == (None, None, ())

    async def test_the_given_order_is_kept(self, site: PublisherSite) -> None:
        """Messages of one key are in one partition, in the order of the calls."""
        await site.publisher.publish([event(number) for number in range(500)])
        await site.publisher.publish([event(number) for number in range(500, 600)])

        written = await site.written(topics.EVENTS, 600)
        assert [decode(record).id for record in written] == [f"wf-1:{n}" for n in range(600)]
        assert len({record.partition for record in written}) == 1

    async def test_one_call_may_write_to_several_topics(self, site: PublisherSite) -> None:
        """Messages and records of different topics go together."""
        refused = Record(topic=topics.DEAD_LETTER, key=b"k", value=b"v")

        await site.publisher.publish([event(1), refused, event(2)])

        assert len(await site.written(topics.EVENTS, 2)) == 2
        assert len(await site.written(topics.DEAD_LETTER, 1)) == 1

    async def test_a_partition_may_be_given(self, site: PublisherSite) -> None:
        """A message with a partition goes there, whatever its key."""
        await site.publisher.publish([event(1, partition=0), event(2, key=None, partition=0)])

        written = await site.written(topics.EVENTS, 2)
        assert [record.partition for record in written] == [0, 0]

    async def test_nothing_to_publish_is_fine(self, site: PublisherSite) -> None:
        """An empty call returns and writes nothing."""
        await site.publisher.publish([])
        await site.publisher.publish([event(1)])

        written = await site.written(topics.EVENTS, 1)
        assert [decode(record).id for record in written] == [event(1).id]

    async def test_calls_may_overlap(self, site: PublisherSite) -> None:
        """Each of many concurrent calls returns when its own messages are written, in its order."""
        calls = [[event(n, key=f"wf-{call}") for n in range(5)] for call in range(40)]

        await asyncio.gather(*(site.publisher.publish(call) for call in calls))

        written = [decode(record) for record in await site.written(topics.EVENTS, 200)]
        for call in range(40):
            mine = [message.id for message in written if message.key == f"wf-{call}"]
            assert mine == [f"wf-{call}:{n}" for n in range(5)]

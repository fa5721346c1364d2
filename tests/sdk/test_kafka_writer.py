"""What a broker refuses for good costs the record that it refuses, and nothing else."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conveyor import Client, topics, types
from conveyor.dead_letters import TOPIC_BYTES_MAX
from conveyor.errors import RecordRefusedError, ServerUnavailableError
from conveyor.kafka_errors import Verdict
from conveyor.kafka_writer import KafkaWriter
from conveyor.key_store import MemoryKeyStore
from conveyor.messages import Record
from conveyor.participant import Participant

from tests.sdk.kafka_site import KafkaSite, kafka_site
from tests.sdk.requests_of import data_of, running, seal_request, step_request

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]

REQUESTS = topics.step_requests("inventory-service")


@pytest.fixture
async def site(kafka_bootstrap: str) -> AsyncIterator[KafkaSite]:
    async with kafka_site(kafka_bootstrap, partitions=1) as site:
        yield site


@pytest.fixture
async def writer(site: KafkaSite) -> AsyncIterator[KafkaWriter]:
    writer = KafkaWriter(site.bootstrap, {}, site.prefix)
    yield writer
    await writer.close()


def record(topic: str, value: bytes, **more: Any) -> Record:
    return Record(topic=topic, key=b"k", value=value, **more)


async def values(site: KafkaSite, topic: str, count: int) -> list[bytes]:
    reader = site.reader(topic)
    try:
        return [each.value or b"" for each in await reader.records(count)]
    finally:
        reader.close()


async def test_one_record_of_a_batch_is_too_large(site: KafkaSite, writer: KafkaWriter) -> None:
    """The broker refuses the whole batch; every other record of it is written once."""
    await site.limit(REQUESTS, 2_000)
    records = [record(REQUESTS, b"%d" % n) for n in range(20)]
    large = record(REQUESTS, b"x" * 3_000)

    refused = await writer.write([*records[:7], large, *records[7:]])
    await writer.write([record(REQUESTS, b"end")])

    assert [(each.message, each.verdict) for each in refused] == [(large, Verdict.RECORD)]
    written = await values(site, REQUESTS, 21)
    assert sorted(written) == sorted([each.value or b"" for each in records] + [b"end"])


async def test_a_record_that_the_client_refuses(site: KafkaSite, writer: KafkaWriter) -> None:
    """What exceeds the client's own limit, or names a partition that is not there, is final."""
    await writer.write([record(REQUESTS, b"0")])
    large = record(REQUESTS, b"x" * (TOPIC_BYTES_MAX + 1))
    astray = record(REQUESTS, b"x", partition=9)

    refused = await writer.write([large, record(REQUESTS, b"1"), astray])

    assert {each.verdict: each.message for each in refused} == {
        Verdict.RECORD: large,
        Verdict.TOPIC: astray,
    }
    assert await values(site, REQUESTS, 2) == [b"0", b"1"]


async def test_a_topic_that_does_not_exist(site: KafkaSite, writer: KafkaWriter) -> None:
    """Records of other topics are written; the missing one is named."""
    astray = record("nowhere", b"x")

    refused = await writer.write([astray, record(REQUESTS, b"1")])

    assert [(each.message, each.verdict) for each in refused] == [(astray, Verdict.TOPIC)]
    assert await values(site, REQUESTS, 1) == [b"1"]


async def test_a_producer_that_is_over_is_replaced(site: KafkaSite) -> None:
    """After a fatal error the next write has a new producer."""
    await site.limit(REQUESTS, 2_000)
    writer = KafkaWriter(site.bootstrap, {"enable.gapless.guarantee": "true"}, site.prefix)
    with pytest.raises(ServerUnavailableError):
        await writer.write([record(REQUESTS, b"x" * 3_000)])

    assert await writer.write([record(REQUESTS, b"1")]) == []
    await writer.close()
    assert await values(site, REQUESTS, 1) == [b"1"]


# -- participants ------------------------------------------------------------------------------------


def participant_with(output: dict[str, Any]) -> Participant:
    participant = Participant("inventory")
    participant.step("inventory-service", "reserve")(lambda _: output)
    return participant


async def test_an_oversized_request_is_a_dead_letter(site: KafkaSite) -> None:
    """Its dead letter gets out, whatever the client library's default size, and others are answered."""
    letters, replies = site.reader(topics.DEAD_LETTER), site.reader(topics.REPLIES)
    await site.limit(REQUESTS, 8 * 1024 * 1024)
    writer = KafkaWriter(site.bootstrap, {"message.max.bytes": "8000000"}, site.prefix)
    await site.limit(topics.DEAD_LETTER, TOPIC_BYTES_MAX)
    async with running(participant_with({}), site.transport(), MemoryKeyStore()):
        for size in (1_200_000, 6_000_000):
            assert not await writer.write([record(REQUESTS, b"x" * size)])
        await site.write(step_request())
        first, second = await letters.records(2)
        [reply] = await replies.messages(1)
    await writer.close()
    letters.close()
    replies.close()

    assert first.value == b"x" * 1_200_000
    assert second.value == b"x" * 1024
    assert b"the first 1024 of 6000000 bytes" in dict(second.headers)["dlq-detail"]
    assert reply.type == types.STEP_COMPLETED


async def test_a_lowered_limit_shortens_dead_letters(site: KafkaSite) -> None:
    """A dead letter that the topic does not take any more is written without its value."""
    letters = site.reader(topics.DEAD_LETTER)
    await site.limit(topics.DEAD_LETTER, 10_000)
    async with running(participant_with({}), site.transport(), MemoryKeyStore()):
        await site.write(record(REQUESTS, b"x" * 50_000))
        [letter] = await letters.records(1)
    letters.close()

    assert letter.value == b"x" * 1024


class Errors(logging.Handler):
    """Waits for the first error that is logged."""

    def __init__(self) -> None:
        super().__init__(logging.ERROR)
        self.first: asyncio.Future[str] = asyncio.get_running_loop().create_future()

    def emit(self, record: logging.LogRecord) -> None:
        if not self.first.done():
            self.first.set_result(record.getMessage())


async def test_a_missing_dead_letter_topic_stops_nobody(site: KafkaSite) -> None:
    """What can be set aside nowhere is logged with its place, and the next request is answered."""
    replies = site.reader(topics.REPLIES)
    await site.delete(topics.DEAD_LETTER)
    errors = Errors()
    logging.getLogger("conveyor.kafka").addHandler(errors)
    async with running(participant_with({}), site.transport(), MemoryKeyStore()):
        await site.write(record(REQUESTS, b"hello"), step_request())
        [reply] = await replies.messages(1)
        error = await errors.first
    logging.getLogger("conveyor.kafka").removeHandler(errors)
    replies.close()

    assert reply.type == types.STEP_COMPLETED
    assert "'dlq-offset': b'0'" in error
    assert site.committed("inventory", REQUESTS) == {0: 2}


async def test_a_lowered_limit_leaves_out_outputs(site: KafkaSite) -> None:
    """A reply that the topic does not take is answered as open; the seal finds the step performed."""
    replies = site.reader(topics.REPLIES)
    await site.limit(topics.REPLIES, 10_000)
    participant = participant_with({"text": "x" * 50_000})
    async with running(participant, site.transport(), MemoryKeyStore()):
        await site.write(step_request())
        [failed] = await replies.messages(1)
        await site.write(seal_request())
        [sealed] = await replies.messages(1)
    replies.close()

    assert failed.type == types.STEP_FAILED
    error = data_of(failed)["error"]
    assert (error["code"], error["type"], error["retryable"]) == (
        "TOO_LARGE",
        "UNKNOWN",
        False,
    )
    assert data_of(failed)["performed"]
    assert data_of(sealed)["performed"]
    assert data_of(sealed)["error"]["code"] == "TOO_LARGE"


async def test_a_command_that_is_too_large_is_refused(site: KafkaSite) -> None:
    """The caller learns at once that nothing was sent."""
    await site.limit(topics.COMMANDS, 2_000)
    opening = Client.over_kafka(site.bootstrap, source="/t", topic_prefix=site.prefix)
    async with opening as client:
        with pytest.raises(RecordRefusedError, match="size too large"):
            await client.start("d", {"text": "x" * 3_000}, workflow_id="wf-1")

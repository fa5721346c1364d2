"""Participants over a real Kafka and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import pytest
from conveyor import topics, types
from conveyor.handlers import StepContext
from conveyor.key_store import MemoryKeyStore
from conveyor.messages import Record
from conveyor.participant import Participant
from conveyor.redis_keys import RedisKeyStore

from tests.kafka_wire import produce
from tests.sdk.kafka_site import KafkaSite, kafka_site
from tests.sdk.requests_of import data_of, running, step_request

pytestmark = [pytest.mark.kafka, pytest.mark.redis, pytest.mark.timeout(120)]

REQUESTS = topics.step_requests("inventory-service")


class Stock:
    """Reserves; the workflows in `held` wait until they are let go."""

    def __init__(self) -> None:
        self.participant = Participant("inventory")
        self.contexts: list[StepContext] = []
        self.held: dict[str, asyncio.Event] = {}
        self.participant.step("inventory-service", "reserve")(self.reserve)

    def reserve(self, context: StepContext) -> Any:
        gate = self.held.get(context.workflow_id)
        return self._reserve(context) if gate is None else self._wait(gate, context)

    async def _wait(self, gate: asyncio.Event, context: StepContext) -> dict[str, str]:
        await gate.wait()
        return self._reserve(context)

    def _reserve(self, context: StepContext) -> dict[str, str]:
        self.contexts.append(context)
        return {"reservationId": context.idempotency_key}


@pytest.fixture
async def site(kafka_bootstrap: str) -> AsyncIterator[KafkaSite]:
    async with kafka_site(kafka_bootstrap) as site:
        yield site


@pytest.fixture
async def single(kafka_bootstrap: str) -> AsyncIterator[KafkaSite]:
    """A site with one partition, for the order of offsets."""
    async with kafka_site(kafka_bootstrap, partitions=1) as site:
        yield site


async def test_requests_are_answered(site: KafkaSite, redis_url: str) -> None:
    """Requests of many workflows are answered once each, keyed by workflow."""
    stock, replies = Stock(), site.reader(topics.REPLIES)
    ids = [f"{site.prefix}{n}" for n in range(200)]
    async with running(stock.participant, site.transport(), RedisKeyStore(redis_url)):
        await site.write(*[step_request(workflow_id) for workflow_id in ids])
        answers = await replies.messages(len(ids))
    replies.close()

    assert sorted(answer.key or "" for answer in answers) == sorted(ids)
    assert {answer.type for answer in answers} == {types.STEP_COMPLETED}
    assert len(stock.contexts) == len(ids)
    committed = site.committed("inventory", REQUESTS)
    assert sum(offset for offset in committed.values() if offset > 0) == len(ids)


async def test_an_unreadable_header_costs_one_record(single: KafkaSite, redis_url: str) -> None:
    """A header name that is not UTF-8 is a dead letter, in a participant that has read hundreds of requests."""
    stock, replies = Stock(), single.reader(topics.REPLIES)
    letters = single.reader(topics.DEAD_LETTER)
    ids = [f"{single.prefix}{n}" for n in range(800)]
    async with running(stock.participant, single.transport(), RedisKeyStore(redis_url)):
        await single.write(*map(step_request, ids[:400]))
        await produce(
            single.bootstrap,
            single.prefix + REQUESTS,
            0,
            key=b"k",
            value=b"{}",
            headers=[(b"tr\xe4ger", b"x")],
        )
        await single.write(*map(step_request, ids[400:]))
        answers = await replies.messages(len(ids))
        [letter] = await letters.records(1)
    replies.close()
    letters.close()

    assert {answer.key for answer in answers} == set(ids)
    assert dict(letter.headers)["dlq-reason"] == b"MALFORMED_EVENT"
    assert dict(letter.headers)["dlq-offset"] == b"400"
    assert (letter.key, letter.value) == (b"k", b"{}")


async def test_an_idle_participant_answers_at_once(site: KafkaSite, redis_url: str) -> None:
    """One request after another is answered without waiting for anybody's polling interval."""
    stock, replies = Stock(), site.reader(topics.REPLIES)
    async with running(stock.participant, site.transport(), RedisKeyStore(redis_url)):
        await site.write(step_request(f"{site.prefix}first"))
        await replies.messages(1)
        started = asyncio.get_running_loop().time()
        for n in range(20):
            await site.write(step_request(f"{site.prefix}{n}"))
            await replies.messages(1)
        seconds = asyncio.get_running_loop().time() - started
    replies.close()

    assert seconds < 20 * 0.12


async def test_the_offset_never_passes_an_unanswered_request(
    single: KafkaSite, redis_url: str
) -> None:
    """While the first request runs, later ones are answered, and a crash brings all of them again."""
    stock, replies = Stock(), single.reader(topics.REPLIES)
    slow, *fast = [f"{single.prefix}{n}" for n in range(5)]
    stock.held[slow] = asyncio.Event()
    async with running(
        stock.participant, single.transport(), RedisKeyStore(redis_url), grace_seconds=0.1
    ):
        await single.write(*[step_request(workflow_id) for workflow_id in [slow, *fast]])
        first = await replies.messages(len(fast))

    assert sorted(answer.key or "" for answer in first) == fast
    assert single.committed("inventory", REQUESTS)[0] <= 0

    del stock.held[slow]
    async with running(stock.participant, single.transport(), RedisKeyStore(redis_url)):
        second = await replies.messages(len(fast) + 1)
    replies.close()

    assert {answer.id for answer in second} > {answer.id for answer in first}
    assert len(stock.contexts) == len(fast) + 1
    assert next(c for c in stock.contexts if c.workflow_id == slow).recovered
    assert single.committed("inventory", REQUESTS) == {0: 5}


async def test_nothing_is_taken_without_room(single: KafkaSite) -> None:
    """With limit 0 the membership lives and nothing is delivered or lost."""
    transport = single.transport()
    await single.write(*[step_request(f"wf-{n}") for n in range(10)])
    await transport.start("inventory", ["inventory-service"])
    async with asyncio.timeout(30):
        while not (first := await transport.take(1, 0.2)):
            pass

    assert await transport.take(0, 0.0) == ()
    taken = list(first)
    async with asyncio.timeout(30):
        while len(taken) < 10:
            taken += await transport.take(100, 0.2)
    await transport.close()

    assert [each.offset for each in taken] == list(range(10))


async def test_joining_is_reported_once(single: KafkaSite) -> None:
    """By each process when the group has decided, also by the one that gets no partition."""
    joined: list[str] = []
    first = single.transport(lambda: joined.append("first"))
    second = single.transport(lambda: joined.append("second"))
    await first.start("inventory", ["inventory-service"])
    assert joined == []
    async with asyncio.timeout(30):
        while not joined:
            await first.take(1, 0.1)
    await second.start("inventory", ["inventory-service"])
    async with asyncio.timeout(60):
        while len(joined) < 2:
            await first.take(1, 0.1)
            await second.take(1, 0.1)
    await second.close()
    await first.take(1, 0.1)
    await first.close()

    assert joined == ["first", "second"]


async def test_two_processes_share_the_work(site: KafkaSite, redis_url: str) -> None:
    """When a second process joins and the first leaves, every step is still performed once."""
    stock, replies = Stock(), site.reader(topics.REPLIES)
    ids = [f"{site.prefix}{n}" for n in range(300)]
    requests = [step_request(workflow_id) for workflow_id in ids]
    async with running(stock.participant, site.transport(), RedisKeyStore(redis_url)) as first:
        await site.write(*requests[:100])
        answers = await replies.messages(100)
        async with running(stock.participant, site.transport(), RedisKeyStore(redis_url)):
            await site.write(*requests[100:200])
            first.stop()
            await site.write(*requests[200:])
            while len({answer.id for answer in answers}) < len(ids):
                answers += await replies.messages(1)
    replies.close()

    performed = [context.workflow_id for context in stock.contexts]
    assert sorted(performed) == sorted(ids)


async def test_unreadable_records_become_dead_letters(site: KafkaSite) -> None:
    """A record that is no CloudEvent is set aside with its place and reason, and blocks nobody."""
    stock, letters = Stock(), site.reader(topics.DEAD_LETTER)
    replies = site.reader(topics.REPLIES)
    broken = Record(topic=REQUESTS, key=b"wf", value=b"hello", headers=(("x", b"1"),), partition=1)
    async with running(stock.participant, site.transport(), MemoryKeyStore()):
        await site.write(broken, step_request("wf-1"))
        [letter] = await letters.records(1)
        [reply] = await replies.messages(1)
    letters.close()
    replies.close()

    headers = dict(letter.headers)
    assert headers["dlq-reason"] == b"MALFORMED_EVENT"
    assert (headers["dlq-topic"], headers["dlq-partition"], headers["dlq-offset"]) == (
        REQUESTS.encode(),
        b"1",
        b"0",
    )
    assert (letter.key, letter.value, headers["x"]) == (b"wf", b"hello", b"1")
    assert data_of(reply)["workflowId"] == "wf-1"
    assert site.committed("inventory", REQUESTS)[1] == 1 + (reply.partition == 1)

"""The client over Kafka against a real broker; the engine's side is played by the test."""

from __future__ import annotations

import asyncio
import re
from collections.abc import AsyncGenerator, AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from functools import partial
from typing import Any

import orjson
import pytest
from conveyor import Client, topics, types
from conveyor.client import AsyncClient, AsyncWorkflow
from conveyor.errors import (
    OutcomeUnknownError,
    PositionLostError,
    RequestRefusedError,
    UnsupportedError,
    WorkflowFailedError,
)
from conveyor.messages import Message
from conveyor.resources import Event
from conveyor.times import rfc3339
from conveyor.wire import StepOutcome

from tests.kafka_wire import produce
from tests.sdk.kafka_site import KafkaSite, TopicReader, kafka_site

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


@pytest.fixture
async def site(kafka_bootstrap: str) -> AsyncIterator[KafkaSite]:
    async with kafka_site(kafka_bootstrap, services=()) as site:
        yield site


def over_kafka(site: KafkaSite, timeout_seconds: float = 30) -> Client:
    return Client.over_kafka(
        site.bootstrap, source="/tests", topic_prefix=site.prefix, timeout_seconds=timeout_seconds
    )


@pytest.fixture
async def client(site: KafkaSite) -> AsyncIterator[AsyncClient]:
    async with over_kafka(site) as client:
        yield client


@pytest.fixture
async def commands(site: KafkaSite) -> AsyncIterator[TopicReader]:
    reader = site.reader(topics.COMMANDS)
    yield reader
    reader.close()


def event(command: Message | None, workflow_id: str, version: int, **data: Any) -> Message:
    """What the engine publishes for a command."""
    event_type = data.pop("type", "orchestration.workflow.started")
    own = {
        "eventType": "SomeEvent",
        "occurredAt": rfc3339(datetime.now(UTC)),
        "aggregateId": workflow_id,
        "version": version,
        **data,
    }
    return Message(
        topic=topics.EVENTS,
        key=workflow_id,
        type=event_type,
        source="/conveyor",
        id=f"{workflow_id}:{version}",
        data=orjson.dumps(own),
        subject=workflow_id,
        extensions={} if command is None else {"causationid": command.id},
    )


async def started(
    site: KafkaSite, client: AsyncClient, commands: TopicReader, workflow_id: str
) -> AsyncWorkflow:
    """A workflow that the engine has started."""
    asking = asyncio.create_task(client.start("d", {}, workflow_id=workflow_id))
    [command] = await commands.messages(1)
    await site.write(event(command, workflow_id, 1))
    return await asking


def completed(workflow_id: str, version: int, output: dict[str, Any]) -> Message:
    return event(None, workflow_id, version, type=types.COMPLETED, output=output, durationMs=1)


# -- commands ------------------------------------------------------------------------------------


async def test_start(site: KafkaSite, client: AsyncClient, commands: TopicReader) -> None:
    """A start is published as CONTRACT 6 says, with a key of its own."""
    asking = asyncio.create_task(
        client.start("order-fulfillment", {"orderId": "o-1"}, workflow_id="wf-1")
    )
    [command] = await commands.messages(1)
    await site.write(
        event(command, "wf-1", 1), event(command, "wf-1", 2, type="orchestration.workflow.paused")
    )
    run = await asking

    assert (command.type, command.key, command.subject) == (types.START, "wf-1", "wf-1")
    assert command.source == "/tests"
    data = orjson.loads(command.data)
    assert data.pop("idempotencyKey")
    assert data == {"definition": "order-fulfillment", "input": {"orderId": "o-1"}}
    assert run.id == "wf-1"


async def test_refused(site: KafkaSite, client: AsyncClient, commands: TopicReader) -> None:
    """A refusal carries its code and detail, and what would be possible."""
    asking = asyncio.create_task(client.workflow("wf-1").pause("spill"))
    [command] = await commands.messages(1)
    await site.write(
        event(
            command,
            "wf-1",
            9,
            type=types.COMMAND_REJECTED,
            code="ILLEGAL_STATUS",
            detail="wf-1 is COMPLETED",
            status="COMPLETED",
            allowedCommands=["compensate"],
        )
    )

    with pytest.raises(RequestRefusedError) as refused:
        await asking

    assert (refused.value.code, refused.value.detail) == ("ILLEGAL_STATUS", "wf-1 is COMPLETED")
    assert (refused.value.workflow_id, refused.value.workflow_status) == ("wf-1", "COMPLETED")
    assert refused.value.allowed_commands == ("compensate",)


@pytest.mark.parametrize(
    ("send", "command_type", "data"),
    [
        (
            lambda w: w.cancel("no", compensate=False),
            types.CANCEL,
            {"reason": "no", "compensate": False},
        ),
        (lambda w: w.compensate("undo"), types.COMPENSATE, {"reason": "undo"}),
        (lambda w: w.force_compensate("undo"), types.FORCE_COMPENSATE, {"reason": "undo"}),
        (lambda w: w.resume(), types.RESUME, {"reason": None}),
        (lambda w: w.retry("again"), types.RETRY, {"reason": "again"}),
        (
            lambda w: w.signal("paid", {"amount": 3}),
            types.SIGNAL,
            {"name": "paid", "payload": {"amount": 3}},
        ),
        (
            lambda w: w.execute_step("pack", result=StepOutcome(output={"n": 1})),
            types.EXECUTE_STEP,
            {"stepId": "pack", "input": None, "result": {"output": {"n": 1}}},
        ),
        (
            lambda w: w.retry_step_now("pack", "it is back"),
            types.RETRY_STEP_NOW,
            {"stepId": "pack", "reason": "it is back"},
        ),
        (
            lambda w: w.skip_step("pack", "not needed"),
            types.SKIP_STEP,
            {"stepId": "pack", "reason": "not needed"},
        ),
        (
            lambda w: w.complete_step("pack", "by hand", {"n": 1}),
            types.COMPLETE_STEP,
            {"stepId": "pack", "reason": "by hand", "output": {"n": 1}},
        ),
        (
            lambda w: w.reset("pack", "packed wrong"),
            types.RESET,
            {"toStep": "pack", "reason": "packed wrong"},
        ),
        (
            lambda w: w.patch("wrong dock", input={"dock": 4, "note": None}),
            types.PATCH,
            {"reason": "wrong dock", "input": {"dock": 4, "note": None}, "context": {}},
        ),
    ],
)
async def test_controls(
    site: KafkaSite,
    client: AsyncClient,
    commands: TopicReader,
    send: Callable[[AsyncWorkflow], Awaitable[None]],
    command_type: str,
    data: dict[str, Any],
) -> None:
    """Every control is the command of its name, for one workflow."""
    asking = asyncio.ensure_future(send(client.workflow("w")))
    [command] = await commands.messages(1)
    await site.write(event(command, "w", 4))
    await asking

    assert (command.type, command.key) == (command_type, "w")
    assert orjson.loads(command.data) == data


async def test_no_outcome(site: KafkaSite, commands: TopicReader) -> None:
    """When nobody answers, the caller learns the key with which the command is the same again."""
    async with over_kafka(site, timeout_seconds=0.5) as client:
        run = client.workflow("wf-1")
        with pytest.raises(OutcomeUnknownError) as unknown:
            await run.pause()
        with pytest.raises(OutcomeUnknownError):
            await run.pause(idempotency_key=unknown.value.idempotency_key)
        with pytest.raises(OutcomeUnknownError):
            await run.resume(idempotency_key=unknown.value.idempotency_key)
    first, again, other = await commands.messages(3)

    assert first.id == again.id
    assert other.id != first.id


@pytest.mark.parametrize("source", ["", "/my shop", "/shop "])
def test_a_source_that_the_engine_would_refuse_is_refused_at_once(source: str) -> None:
    """Its commands would all be dead letters."""
    with pytest.raises(ValueError, match="source"):
        Client.over_kafka("localhost:9092", source=source)


async def test_a_repeated_start_is_the_same_command(
    site: KafkaSite, client: AsyncClient, commands: TopicReader
) -> None:
    """Under one idempotency key the same start has the same id, whatever its correlation id; another has not."""
    sent: list[Message] = []
    for number, correlation_id in ((1, "a"), (1, "b"), (2, "b")):
        asking = asyncio.create_task(
            client.start(
                "d",
                {"n": number},
                workflow_id="wf-9",
                idempotency_key="k",
                correlation_id=correlation_id,
            )
        )
        [command] = await commands.messages(1)
        await site.write(event(command, "wf-9", 1))
        await asking
        sent.append(command)

    assert sent[0].id == sent[1].id
    assert sent[0].id != sent[2].id


async def test_the_same_start_twice_at_once(
    site: KafkaSite, client: AsyncClient, commands: TopicReader
) -> None:
    """Both callers learn the outcome of the one command."""
    start = partial(client.start, "d", {}, workflow_id="wf-1", idempotency_key="k")
    both = asyncio.gather(start(), start())
    first, again = await commands.messages(2)
    await site.write(event(first, "wf-1", 1))
    runs = await both

    assert first.id == again.id
    assert [run.id for run in runs] == ["wf-1", "wf-1"]


async def test_an_unreadable_event_is_left_out(
    site: KafkaSite, client: AsyncClient, commands: TopicReader
) -> None:
    """A header name or a causation id that is not UTF-8 does not end the client's reading."""
    asking = asyncio.create_task(client.start("d", {}, workflow_id="wf-1"))
    [command] = await commands.messages(1)
    for headers in ([(b"tr\xe4ger", b"x")], [(b"ce_causationid", b"\xe4")]):
        await produce(
            site.bootstrap,
            site.prefix + topics.EVENTS,
            0,
            key=b"wf-1",
            value=b"{}",
            headers=headers,
        )

    await site.write(event(command, "wf-1", 1))
    run = await asking

    assert run.id == "wf-1"


# -- results -------------------------------------------------------------------------------------


async def test_a_result(site: KafkaSite, client: AsyncClient, commands: TopicReader) -> None:
    """It comes with the event of the end."""
    run = await started(site, client, commands, "wf-1")
    waiting = asyncio.create_task(run.result(timeout=30))
    await site.write(event(None, "wf-1", 2, type="orchestration.workflow.step.executed"))
    await site.write(completed("wf-1", 3, {"n": 1}))

    assert await waiting == {"n": 1}


async def test_a_result_of_the_past(
    site: KafkaSite, client: AsyncClient, commands: TopicReader
) -> None:
    """A workflow that has ended before, in this program or any other, does not keep its caller waiting."""
    run = await started(site, client, commands, "wf-1")
    await site.write(completed("wf-1", 2, {"n": 1}), completed("wf-2", 2, {"n": 2}))

    assert await run.result(timeout=30) == {"n": 1}
    assert await client.workflow("wf-2").result(timeout=30) == {"n": 2}
    assert await run.result(timeout=30) == {"n": 1}


async def test_a_result_that_is_an_error(
    site: KafkaSite, client: AsyncClient, commands: TopicReader
) -> None:
    """It names the error of the step, and comes when the undo is done. Old events come again at any time."""
    run = await started(site, client, commands, "wf-1")
    failed = event(
        None,
        "wf-1",
        2,
        type=types.FAILED,
        error={"errorCode": "NO_ROOM", "message": "full"},
        willCompensate=True,
    )
    undone = event(None, "wf-1", 3, type=types.COMPENSATION_COMPLETED, success=True)
    waiting = asyncio.create_task(run.result(timeout=30))
    await site.write(failed, failed, undone)

    with pytest.raises(WorkflowFailedError) as error:
        await waiting
    assert (error.value.status, error.value.code, error.value.message) == (
        "COMPENSATED",
        "NO_ROOM",
        "full",
    )


async def test_reads_need_an_address(client: AsyncClient) -> None:
    """The error says which."""
    with pytest.raises(UnsupportedError, match="url"):
        await client.workflow("wf-1").get()
    with pytest.raises(UnsupportedError, match="url"):
        await client.list()


# -- subscriptions -------------------------------------------------------------------------------


async def some(events: AsyncGenerator[Event, None], count: int) -> list[Event]:
    async with asyncio.timeout(30):
        return [await anext(events) for _ in range(count)]


async def test_a_subscription_goes_on_after_any_event(site: KafkaSite, client: AsyncClient) -> None:
    """Nothing is left out, and nothing comes twice."""
    await site.write(*(event(None, f"wf-{n % 4}", n // 4 + 1) for n in range(20)))

    first = await some(client.subscribe(), 7)
    rest = await some(client.subscribe(after=first[-1].position), 13)

    seen = [(each.workflow_id, each.version) for each in (*first, *rest)]
    assert sorted(seen) == [(f"wf-{n}", version) for n in range(4) for version in range(1, 6)]
    for number in range(4):
        own = [version for workflow_id, version in seen if workflow_id == f"wf-{number}"]
        assert own == [1, 2, 3, 4, 5]


async def test_a_group_remembers_what_is_done(site: KafkaSite, client: AsyncClient) -> None:
    """What was not done comes again; an event is done when the next one is asked for."""
    await site.write(*(event(None, "wf-1", n) for n in range(1, 6)))
    group = f"{site.prefix}shop"

    events = client.subscribe(group=group)
    first = await some(events, 3)
    await events.aclose()
    rest = await some(client.subscribe(group=group), 3)

    assert [each.version for each in first] == [1, 2, 3]
    assert [each.version for each in rest] == [3, 4, 5]


async def test_a_position_of_the_past(site: KafkaSite, client: AsyncClient) -> None:
    """Deleted events are not left out in silence."""
    await site.write(event(None, "wf-1", 1))
    [first] = await some(client.subscribe(), 1)
    beyond = re.sub(r":\d+", ":99", first.position or "")

    with pytest.raises(PositionLostError):
        await some(client.subscribe(after=beyond), 1)


@pytest.mark.parametrize("wrong", ["", "x", "1:", "1:2,3"])
async def test_what_is_not_a_position(client: AsyncClient, wrong: str) -> None:
    """It is refused."""
    with pytest.raises(ValueError, match="position"):
        await anext(client.subscribe(after=wrong))


async def test_group_and_position(client: AsyncClient) -> None:
    """Only one of them can count."""
    with pytest.raises(ValueError, match="group or after"):
        client.subscribe(group="shop", after="0:1")

"""The client against a real broker; the engine's side is played by the test."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import orjson
import pytest
from conveyor import topics, types
from conveyor.client import Accepted, ConveyorClient, Outcome, OutcomeUnknownError, Rejected
from conveyor.messages import Message
from conveyor.wire import StartData

from tests.kafka_wire import produce
from tests.sdk.kafka_site import KafkaSite, TopicReader, kafka_site

pytestmark = [pytest.mark.kafka, pytest.mark.timeout(120)]


@pytest.fixture
async def site(kafka_bootstrap: str) -> AsyncIterator[KafkaSite]:
    async with kafka_site(kafka_bootstrap, services=()) as site:
        yield site


@pytest.fixture
async def client(site: KafkaSite) -> AsyncIterator[ConveyorClient]:
    async with ConveyorClient(
        site.bootstrap, source="/tests", topic_prefix=site.prefix, timeout_seconds=30
    ) as client:
        yield client


@pytest.fixture
async def commands(site: KafkaSite) -> AsyncIterator[TopicReader]:
    reader = site.reader(topics.COMMANDS)
    yield reader
    reader.close()


def event(command: Message, workflow_id: str, version: int, **data: Any) -> Message:
    """What the engine publishes for a command."""
    event_type = data.pop("type", "orchestration.workflow.started")
    return Message(
        topic=topics.EVENTS,
        key=workflow_id,
        type=event_type,
        source="/conveyor",
        id=f"{workflow_id}:{version}",
        data=orjson.dumps({"aggregateId": workflow_id, "version": version, **data}),
        subject=workflow_id,
        extensions={"causationid": command.id},
    )


async def test_accepted(site: KafkaSite, client: ConveyorClient, commands: TopicReader) -> None:
    """A start is published as CONTRACT 6 says, and answered with what it caused."""
    asking = asyncio.create_task(
        client.start(
            StartData(definition="order-fulfillment", input={"orderId": "o-1"}),
            workflow_id="wf-1",
            command_id="cmd-1",
        )
    )
    [command] = await commands.messages(1)
    await site.write(
        event(command, "wf-1", 1), event(command, "wf-1", 2, type="orchestration.workflow.paused")
    )
    outcome = await asking

    assert (command.type, command.key, command.subject) == (types.START, "wf-1", "wf-1")
    assert (command.source, command.id) == ("/tests", "cmd-1")
    assert orjson.loads(command.data) == {
        "definition": "order-fulfillment",
        "input": {"orderId": "o-1"},
    }
    assert isinstance(outcome, Accepted)
    assert (outcome.workflow_id, outcome.command_id) == ("wf-1", "cmd-1")
    assert outcome.events[0].type == "orchestration.workflow.started"
    assert outcome.version == orjson.loads(outcome.events[-1].data)["version"]


async def test_rejected(site: KafkaSite, client: ConveyorClient, commands: TopicReader) -> None:
    """A refusal carries its code and detail, and what would be possible."""
    asking = asyncio.create_task(client.pause("wf-1", "spill"))
    [command] = await commands.messages(1)
    await site.write(
        event(
            command,
            "wf-1",
            9,
            type=types.COMMAND_REJECTED,
            code="ILLEGAL_STATUS",
            detail="wf-1 is COMPLETED",
            allowedCommands=["compensate"],
        )
    )

    outcome = await asking

    assert isinstance(outcome, Rejected)
    assert (outcome.code, outcome.detail) == ("ILLEGAL_STATUS", "wf-1 is COMPLETED")
    assert outcome.allowed_commands == ("compensate",)


@pytest.mark.parametrize(
    ("send", "command_type", "data"),
    [
        (
            lambda c: c.cancel("w", "no", compensate=False),
            types.CANCEL,
            {"reason": "no", "compensate": False},
        ),
        (lambda c: c.compensate("w", "undo"), types.COMPENSATE, {"reason": "undo"}),
        (lambda c: c.resume("w"), types.RESUME, {"reason": None}),
        (lambda c: c.retry("w", "again"), types.RETRY, {"reason": "again"}),
        (
            lambda c: c.signal("w", "paid", {"amount": 3}),
            types.SIGNAL,
            {"name": "paid", "payload": {"amount": 3}},
        ),
    ],
)
async def test_controls(
    site: KafkaSite,
    client: ConveyorClient,
    commands: TopicReader,
    send: Callable[[ConveyorClient], Awaitable[Outcome]],
    command_type: str,
    data: dict[str, Any],
) -> None:
    """Every control is the command of its name, for one workflow."""
    asking = asyncio.ensure_future(send(client))
    [command] = await commands.messages(1)
    await site.write(event(command, "w", 4))

    outcome = await asking

    assert isinstance(outcome, Accepted)
    assert (command.type, command.key) == (command_type, "w")
    assert orjson.loads(command.data) == data


async def test_no_outcome(site: KafkaSite) -> None:
    """When nobody answers, the caller learns the id with which to ask again."""
    client = ConveyorClient(
        site.bootstrap, source="/tests", topic_prefix=site.prefix, timeout_seconds=0.2
    )
    async with client:
        with pytest.raises(OutcomeUnknownError) as unknown:
            await client.pause("wf-1", command_id="cmd-7")

    assert unknown.value.command_id == "cmd-7"


@pytest.mark.parametrize("source", ["", "/my shop", "/shop "])
def test_a_source_that_the_engine_would_refuse_is_refused_at_once(source: str) -> None:
    """Its commands would all be dead letters."""
    with pytest.raises(ValueError, match="source"):
        ConveyorClient("localhost:9092", source=source)


async def test_a_repeated_start_is_the_same_command(
    site: KafkaSite, client: ConveyorClient, commands: TopicReader
) -> None:
    """Under one idempotency key the same start has the same id, whatever its correlation id; another has not."""
    starts = [
        StartData(definition="d", input={"n": 1}, idempotency_key="k", correlation_id="a"),
        StartData(definition="d", input={"n": 1}, idempotency_key="k", correlation_id="b"),
        StartData(definition="d", input={"n": 2}, idempotency_key="k"),
    ]
    sent: list[Message] = []
    for data in starts:
        asking = asyncio.create_task(client.start(data, workflow_id="wf-9"))
        [command] = await commands.messages(1)
        await site.write(event(command, "wf-9", 1))
        await asking
        sent.append(command)

    assert sent[0].id == sent[1].id
    assert sent[0].id != sent[2].id


async def test_an_unreadable_event_is_left_out(
    site: KafkaSite, client: ConveyorClient, commands: TopicReader
) -> None:
    """A header name or a causation id that is not UTF-8 does not end the client's reading."""
    asking = asyncio.create_task(client.pause("wf-1"))
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

    await site.write(event(command, "wf-1", 2, type="orchestration.workflow.paused"))

    assert isinstance(await asking, Accepted)

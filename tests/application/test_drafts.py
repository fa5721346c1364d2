"""Deciding a batch in memory: whose turn it is."""

from __future__ import annotations

from datetime import UTC, datetime

from conveyor import topics, types
from conveyor.messages import Message

from application.codec.commands import decode
from application.definitions import compile_definition, shipped_definitions
from application.engine.drafts import Draft, Drafter, Work
from application.engine.hot import Hot, Memory, Refusals
from domain.commands import StartWorkflow
from domain.decide import Decided, decide
from domain.events import StartFacts
from domain.position import Position

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)


def signal(number: int) -> Work:
    message = Message(
        topic=topics.COMMANDS,
        key="wf-1",
        subject="wf-1",
        type=types.SIGNAL,
        source="/test",
        id=f"m{number}",
        data=b'{"name":"n"}',
    )
    position = Position("id", topics.COMMANDS, 0, 0, number)
    return Work(position, message, decode(message), number)


def hot() -> Hot:
    order = {"orderId": "wf-1", "lines": [{"sku": "A", "quantity": 1}]}
    facts = StartFacts(definition=compile_definition(shipped_definitions()[0]), input=order)
    started = decide(None, StartWorkflow(workflow_id="wf-1", facts=facts), NOW)
    assert isinstance(started, Decided), started
    return Hot(started.instance, Memory())


def test_one_instance_has_only_its_share_of_an_insert() -> None:
    """What is over it waits for the next insert, in order, so that the neighbours go on (PROTOCOL A9)."""
    works = [signal(number) for number in range(5)]
    drafter = Drafter(0, Refusals(), lambda _reference, _version: None, NOW, share=2)

    draft = Draft.of(hot(), 0)
    drafter.decide_all(draft, works)

    assert [entry.message_id for entry in draft.entries] == ["/test m0", "/test m1"]
    assert list(draft.left) == works[2:]

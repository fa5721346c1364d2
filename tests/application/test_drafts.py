"""Deciding a batch in memory: whose turn it is."""

from __future__ import annotations

from datetime import UTC, datetime

import orjson
import pytest
from conveyor import topics, types
from conveyor.messages import Message

from application.aggregates.catalog import CATALOG
from application.aggregates.inbox import INBOX
from application.aggregates.workflow import WORKFLOW
from application.codec.internal import signed_with
from application.codec.starts import StartIntent, start_command
from application.definitions import compile_definition, shipped_definitions
from application.engine.drafts import (
    COMMIT_BYTES_MAX,
    INSTANCE_BYTES_MAX,
    MESSAGE_BYTES_MAX,
    Draft,
    Drafter,
    Unloaded,
)
from application.engine.hot import Hot
from application.engine.memory import Memory
from application.engine.partition import Partition
from application.engine.work import Work
from domain.aggregate.kind import Decided, Moment
from domain.aggregate.position import Position
from domain.definition.definition import WorkflowDefinition
from domain.definition.expression import Template
from domain.definition.retry import RetryPolicy
from domain.workflow.commands import Command, HandleStepReply, StartWorkflow
from domain.workflow.decide import decide
from domain.workflow.events import StartFacts
from domain.workflow.failure import WorkflowError
from domain.workflow.instance import WorkflowInstance
from domain.workflow.timers import timers_of
from tests import documents
from tests.domain.definitions import Path, step, undo_of, workflow
from tests.messages import message_of

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
SIGN = signed_with(b"secret")


def drafter_of(partition: Partition, share: int = 100) -> Drafter:
    return Drafter(partition, NOW, share, SIGN)


def nothing_of(workflow_id: str) -> Draft:
    return Draft.of_nothing(WORKFLOW, workflow_id, 0)


def work_of(message: Message, number: int, definition: WorkflowDefinition | None = None) -> Work:
    """The message as a batch has it when it decides."""
    inbound = CATALOG.decode(message)
    command = inbound.intent
    if isinstance(command, StartIntent):
        command = start_command(command, definition)
    position = Position("id", topics.COMMANDS, 0, 0, number)
    return Work(position, message, inbound.aggregate_id, command, number)


def signal(number: int) -> Work:
    return work_of(message_of(types.SIGNAL, b'{"name":"n"}', id=f"m{number}"), number)


def hot() -> Hot:
    order = {"orderId": "wf-1", "lines": [{"sku": "A", "quantity": 1}]}
    facts = StartFacts(definition=compile_definition(shipped_definitions()[0]), input=order)
    started = decide(None, StartWorkflow(workflow_id="wf-1", facts=facts), Moment(NOW))
    assert isinstance(started, Decided), started
    return Hot(WORKFLOW, started.state, Memory())


def test_one_instance_has_only_its_share_of_an_insert() -> None:
    """What is over it waits for the next insert, in order, so that the neighbours go on (PROTOCOL A9)."""
    works = [signal(number) for number in range(5)]
    drafter = drafter_of(Partition(0), share=2)

    draft = Draft.of(hot(), 0)
    drafter.decide_all(draft, works)

    assert [entry.message_id for entry in draft.entries] == ["/test m0", "/test m1"]
    assert list(draft.left) == works[2:]


def after(instance: WorkflowInstance | None, command: Command) -> WorkflowInstance:
    decided = decide(instance, command, Moment(NOW))
    assert isinstance(decided, Decided), decided
    return decided.state


def test_an_undo_goes_without_what_its_mapping_has_already() -> None:
    """With the output twice no message would hold it, and the saga would compensate for ever (PROTOCOL rule 15)."""
    undo = undo_of("a", template=Template({"all": Path("steps.a.output")}))
    definition = workflow(step("a", compensation=undo), step("b", "a"))
    facts = StartFacts(definition=definition, input={})
    instance = after(None, StartWorkflow(workflow_id="wf-1", facts=facts))
    large = {"text": "x" * (MESSAGE_BYTES_MAX * 6 // 10)}
    instance = after(instance, HandleStepReply(step_id="a", attempt=1, round=1, output=large))
    error = WorkflowError.create("b", "b-service", "NO", "no", "BUSINESS_RULE_VIOLATION")
    failed = HandleStepReply(step_id="b", attempt=1, round=1, error=error)
    message = message_of(types.STEP_FAILED)
    work = Work(Position("id", topics.REPLIES, 0, 0, 0), message, "wf-1", failed, 0)

    draft = Draft.of(Hot(WORKFLOW, instance, Memory()), 0)
    drafter_of(Partition(0)).decide_all(draft, [work])

    assert max(len(sent.data) for sent in draft.messages) <= MESSAGE_BYTES_MAX
    (undo_request,) = [
        orjson.loads(sent.data)
        for sent in draft.messages
        if sent.type == types.COMPENSATION_REQUESTED
    ]
    assert undo_request["input"] == {"all": large}
    assert undo_request["stepOutput"] is None


def test_an_instance_at_its_limit_can_be_ended() -> None:
    """It takes no more data, but what an operator orders must stay possible."""
    works = [signal(1), work_of(message_of(types.CANCEL, id="m2"), 2)]
    full = Hot(WORKFLOW, hot().state, Memory(size=INSTANCE_BYTES_MAX))

    draft = Draft.of(full, 0)
    drafter_of(Partition(0)).decide_all(draft, works)

    types_of = [entry.events[0].type for entry in draft.entries]
    assert types_of == ["orchestration.command.rejected", "orchestration.workflow.cancelled"]


def test_repeating_a_step_for_days_does_not_fill_an_instance() -> None:
    """Retries have no limit past the pivot: the success that comes in the end must be taken."""
    definition = workflow(step("a", input=Template({"all": Path("input.text")}), retry=FOREVER))
    facts = StartFacts(definition=definition, input={"text": "x" * 100_000})
    held = Hot(WORKFLOW, after(None, StartWorkflow(workflow_id="wf-1", facts=facts)), Memory())
    sizes: list[int] = []
    for attempt in range(1, 20):
        error = WorkflowError.create("a", "a-service", "NO", "no", "SERVICE_UNAVAILABLE")
        failed = HandleStepReply(step_id="a", attempt=attempt, round=1, error=error)
        held = decided(held, failed, 2 * attempt)
        retry = timers_of(held.state)[-1].firing
        held = decided(held, retry, 2 * attempt + 1)
        sizes.append(held.memory.size)

    assert len(set(sizes)) == 1
    assert decided(held, HandleStepReply(step_id="a", attempt=1, round=1), 99).state.is_terminal


FOREVER = RetryPolicy(max_retries=1000)


def decided(hot: Hot, command: Command, offset: int) -> Hot:
    """What the drafter makes of one message of a participant or a timer."""
    message = message_of(types.STEP_FAILED)
    position = Position("id", topics.REPLIES, 0, 0, offset)
    draft = Draft.of(hot, 0)
    drafter_of(Partition(0)).decide_all(draft, [Work(position, message, "wf-1", command, 0)])
    assert draft.state is not None
    return Hot(WORKFLOW, draft.state, draft.memory)


def start(number: int, order: object, definition: WorkflowDefinition) -> Work:
    data = orjson.dumps({"definition": "order", "input": order})
    message = message_of(types.START, data, f"wf-{number}", id=f"m{number}")
    return work_of(message, number, definition)


#: An order of a hundred lines, each of which is wrong in a way that takes many words.
SKUS = [f"sku-{number:06d}" for number in range(2000)]
WORDY = compile_definition(
    documents.document(
        documents.step("reserve"),
        name="order",
        inputSchema={
            "type": "object",
            "properties": {"lines": {"type": "array", "items": {"enum": SKUS}}},
        },
    )
)
WRONG = {"lines": ["no"] * 100}


def test_a_refusal_is_a_small_message_whatever_is_wrong() -> None:
    """What no topic takes would stop the partition for ever once it is in the log (PROTOCOL rule 15)."""
    drafter = drafter_of(Partition(0))

    drafter.decide_all(nothing_of("wf-1"), [start(1, WRONG, WORDY)])

    [refusal] = drafter.inbox.messages
    told = orjson.loads(refusal.data)
    assert (told["code"], len(told["faults"])) == ("INVALID_INPUT", 100)
    assert told["faults"][0]["path"] == "input.lines[0]"
    assert len(refusal.data) < 100_000


def test_refusals_of_a_batch_are_commits_within_the_bounds() -> None:
    """What does not fit waits for the next insert of the same batch (PROTOCOL rule 5)."""
    works = [start(number, WRONG, WORDY) for number in range(100)]
    partition, left, commits = Partition(0), works, 0
    while left:
        drafter = drafter_of(partition)
        drafts = [nothing_of(work.aggregate_id) for work in left]
        for draft, work in zip(drafts, left, strict=True):
            drafter.decide_all(draft, [work])
        written = drafter.inbox
        assert written.bytes < COMMIT_BYTES_MAX + 100_000
        partition.put(Hot(INBOX, written.state, written.memory))
        left, commits = [work for draft in drafts for work in draft.left], commits + 1

    assert partition.inbox is not None
    assert partition.inbox.version == len(works)
    assert 1 < commits < 10


def test_a_start_that_is_too_large_is_not_refused_unseen() -> None:
    """It may be a copy of one that was accepted when what follows from it was smaller (PROTOCOL rule 8)."""
    twice = {"a": "input.text", "b": "input.text"}
    definition = compile_definition(
        documents.document(documents.step("reserve", input=twice), name="order")
    )
    drafter = drafter_of(Partition(0))
    work = start(1, {"text": "x" * (MESSAGE_BYTES_MAX * 6 // 10)}, definition)

    with pytest.raises(Unloaded):
        drafter.decide_all(nothing_of("wf-1"), [work], assumed_new=True)

    drafter.decide_all(nothing_of("wf-1"), [work])
    [refusal] = drafter.inbox.messages
    assert orjson.loads(refusal.data)["code"] == "TOO_LARGE"

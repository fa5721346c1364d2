"""Whatever was accepted, everything that follows from it can be sent (PROTOCOL rule 15)."""

from __future__ import annotations

from random import Random
from typing import Any

from conveyor.messages import Message
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from application.aggregates.workflow import WORKFLOW
from application.codec.events import record
from application.outputs import entry_outputs
from application.ports import Entry
from domain.aggregate.kind import Decided
from domain.aggregate.position import Position
from domain.definition.definition import StepDefinition, StepKind, WorkflowDefinition
from domain.definition.expression import Template
from domain.workflow.commands import ForceCompensateWorkflow, SignalWorkflow, TimerKind
from domain.workflow.events import StepCompensationFailed, StepScheduled, WorkflowSignalled
from domain.workflow.status import CompensationStatus, StepStatus, WorkflowStatus
from domain.workflow.timers import timers_of
from domain.workflow.weight import MESSAGE_BYTES_MAX, at_most, json_bytes
from tests.domain.definitions import Path, step, undo_of, workflow
from tests.domain.sagas import Saga

SIZES = [0, 10, 1000, 100_000, 300_000, 480_000, 600_000, 900_000, 949_000, 951_000, 985_000]
CHARACTERS = ["x", '"', "\n", "é", "漢", "\x01"]


def data(rng: Random) -> dict[str, str] | None:
    """A value of about one of the sizes as JSON, in one or two fields."""
    size, character = rng.choice(SIZES), rng.choice(CHARACTERS)
    if not size:
        return None
    fields = ("text", "more")[: rng.randint(1, 2)]
    count = size // len(fields) // (json_bytes(character) - 2)
    return dict.fromkeys(fields, character * count)


def template(rng: Random, *steps: str) -> Template:
    """What a mapping may read: some of its step, of those before it, of the input and of signals."""
    paths = ["input", "input.text", "signals", "signals.note.text"]
    paths += [f"steps.{name}.output{part}" for name in steps for part in ("", ".text", ".more")]
    shape: Any = {f"f{n}": Path(rng.choice(paths)) for n in range(rng.randint(0, 3))}
    if rng.random() < 0.2:
        shape["fixed"] = "y" * rng.choice(SIZES)
    return Template(shape)


def any_definition(rng: Random) -> WorkflowDefinition:
    names = [f"s{number}" for number in range(rng.randint(1, 4))]
    steps: list[StepDefinition] = []
    for place, name in enumerate(names):
        before = names[:place]
        # A mapping reads only what is done for sure: registration refuses any other.
        after = before if rng.random() < 0.7 else []
        undo = undo_of(name, template=template(rng, name, *after), verify=rng.random() < 0.3)
        kind = StepKind.READ_ONLY if rng.random() < 0.1 else StepKind.COMPENSATABLE
        facts = {"compensation": undo} if kind is StepKind.COMPENSATABLE else {"kind": kind}
        steps.append(step(name, *after, input=template(rng, *after), **facts))
    return workflow(*steps, output=template(rng, *names))


def messages(saga: Saga) -> list[Message]:
    """What the last decision sends, as the engine makes it of its events."""
    if not isinstance(saga.last, Decided):
        return []
    first = saga.instance.version - len(saga.events) + 1
    events = tuple(
        record(WORKFLOW, event, saga.instance, first + n) for n, event in enumerate(saga.events)
    )
    entry = Entry(Position("id", "t", 0, 0, 0), "/test 1", events, len(events))
    return entry_outputs(entry, lambda *_: b"")


class Course:
    """One saga, whose participants answer at random as long as the answers are messages at all."""

    def __init__(self, rng: Random) -> None:
        self.rng = rng
        self.saga = Saga(any_definition(rng))
        self.saga.starts(data(rng) or {}, correlation_id="é" * rng.choice([1, 1000]))
        self.look()

    def look(self) -> None:
        for message in messages(self.saga):
            if len(message.data) > MESSAGE_BYTES_MAX:
                what = message.type
                raise AssertionError(f"{what} has {len(message.data)} bytes")

    def run(self) -> None:
        for _ in range(60):
            moves = self.moves()
            if not moves:
                return
            self.rng.choice(moves)()
            self.look()

    def moves(self) -> list[Any]:
        saga, moves = self.saga, list[Any]()
        if saga.last is None or not saga.history:
            return []
        for name, execution in saga.instance.steps.items():
            if execution.status is StepStatus.EXECUTING:
                moves += [lambda n=name: self.succeed(n)] * 3
                moves += [lambda n=name: saga.fails(n), lambda n=name: saga.times_out(n)]
            if execution.unanswered and execution.seal_attempt:
                moves += [
                    lambda n=name: saga.performed(n, self.small()),
                    lambda n=name: saga.sealed(n),
                ]
            if execution.undo.status is CompensationStatus.RUNNING and execution.undo.deadline:
                done = saga.verified if execution.undo.verifying else saga.undone
                moves += [lambda n=name, d=done: d(n)] * 2
        if saga.instance.status is WorkflowStatus.EXECUTING:
            moves.append(lambda: saga.send(SignalWorkflow(name="note", payload=self.small())))
        if saga.instance.status is WorkflowStatus.COMPENSATING:
            kinds = (TimerKind.SEAL, TimerKind.UNDO_TIMEOUT)
            due = [t.firing for t in timers_of(saga.instance) if t.firing.name in kinds]
            moves += [lambda f=firing: saga.send(f) for firing in due]
        return moves

    def small(self) -> dict[str, str] | None:
        """Data whose event a message holds: anything else the engine refuses before it comes here."""
        while True:
            value = data(self.rng)
            if json_bytes(value) < MESSAGE_BYTES_MAX - 4000:
                return value

    def succeed(self, name: str) -> None:
        self.saga.succeeds(name, self.small(), snapshot=self.rng.choice([None, {"a": "b" * 1000}]))


@settings(
    max_examples=150,
    deadline=None,
    suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large],
)
@given(rng=st.randoms(use_true_random=False))
def test_what_was_accepted_can_be_sent_undone_and_ended(rng: Random) -> None:
    """No event and no request is too large, no undo fails for its size, and force always ends what is left."""
    course = Course(rng)
    saga = course.saga
    if not saga.history:
        return
    course.run()

    assert not [e for e in saga.all_of(StepCompensationFailed) if e.error_code == "TOO_LARGE"]
    if saga.instance.status in (WorkflowStatus.COMPLETED, WorkflowStatus.COMPENSATING):
        saga.send(ForceCompensateWorkflow())
        course.look()
        for _ in range(100):
            if saga.instance.status is WorkflowStatus.COMPENSATED:
                break
            due = [
                t for t in timers_of(saga.instance) if t.firing.name is not TimerKind.STEP_TIMEOUT
            ]
            saga.send(due[0].firing)
            course.look()
        assert saga.instance.status is WorkflowStatus.COMPENSATED
        assert not [e for e in saga.all_of(StepCompensationFailed) if e.error_code == "TOO_LARGE"]


@given(
    value=st.recursive(
        st.none() | st.booleans() | st.floats() | st.integers() | st.text(),
        lambda inner: st.lists(inner) | st.dictionaries(st.text(), inner),
    )
)
def test_the_quick_bound_is_one(value: Any) -> None:
    """No value has more bytes as JSON than the bound that is looked at first."""
    assert value is None or json_bytes(value) <= at_most(value)


def test_the_course_meets_its_limits() -> None:
    """Some of the random sagas are refused data, others undo what is large: the property is about something."""
    refused = large = signalled = 0
    for seed in range(120):
        course = Course(Random(seed))
        if not course.saga.history:
            refused += 1
            continue
        course.run()
        scheduled = course.saga.all_of(StepScheduled)
        large += any(e.purpose and json_bytes(e.request.input) > 500_000 for e in scheduled)
        refused += "TOO_LARGE" in {error.error_code for error in course.saga.instance.errors}
        signalled += bool(course.saga.all_of(WorkflowSignalled))

    assert min(refused, large, signalled) > 3

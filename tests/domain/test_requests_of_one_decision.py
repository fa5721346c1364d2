"""What follows from one message is one commit, which a store must take (PROTOCOL rule 5)."""

from __future__ import annotations

from typing import Any

from domain.definition.definition import WorkflowDefinition
from domain.definition.expression import Template
from domain.workflow.commands import TimerKind
from domain.workflow.events import StepScheduled
from domain.workflow.weight import REQUESTS_BYTES_MAX, WEIGHT_MAX, json_bytes
from tests.domain.definitions import Path, step, workflow
from tests.domain.sagas import Saga

STEPS = [f"s{number}" for number in range(30)]
OUTPUT = {"text": "x" * 900_000}


def side_by_side(**facts: Any) -> WorkflowDefinition:
    """All steps begin at once; `last` waits for them."""
    return workflow(*(step(name, **facts) for name in STEPS), step("last", *STEPS))


def done() -> Saga:
    return Saga(side_by_side()).starts().succeed_with(OUTPUT, *STEPS)


def look(saga: Saga) -> list[str]:
    """The requests of the last decision, which fit into one commit."""
    sent = [event for event in saga.events if isinstance(event, StepScheduled)]
    size = sum(json_bytes([event.request.input, event.request.step_output]) for event in sent)
    assert size < REQUESTS_BYTES_MAX + WEIGHT_MAX
    return [event.step_id for event in sent]


def test_many_large_undos_follow_each_other() -> None:
    """As many as a commit holds are sent; each answer lets the next one follow, until all is undone."""
    saga = done().fails("last")
    waiting = look(saga)
    assert waiting == STEPS[:5]

    undone: list[str] = []
    while waiting:
        undone.append(waiting.pop(0))
        waiting += look(saga.undone(undone[-1]))

    assert undone == STEPS
    saga.expect_status("COMPENSATED")


def test_an_undo_that_is_never_answered_holds_up_none_of_the_others() -> None:
    """Its time-outs let the next ones follow, as answers do."""
    saga = done().fails("last")

    for name in look(saga):
        saga.fires(TimerKind.UNDO_TIMEOUT, name)
        assert look(saga)


def test_force_hurries_as_many_as_a_commit_holds() -> None:
    """Undos that wait for their retry are tried now, the others when these are answered."""
    saga = done().fails("last")
    for name in STEPS:
        saga.undo_fails(name, "SERVICE_UNAVAILABLE")

    waiting = look(saga.forces())
    assert 0 < len(waiting) < len(STEPS)
    while waiting:
        waiting += look(saga.undo_fails(waiting.pop(0)))

    saga.expect_status("COMPENSATED")


def test_many_large_requests_follow_each_other() -> None:
    """Forward as well: all steps repeat the input."""
    saga = Saga(side_by_side(input=Template(Path("input"))))
    waiting = look(saga.starts(OUTPUT))
    assert waiting == STEPS[:5]

    begun: list[str] = []
    while waiting:
        begun.append(waiting.pop(0))
        waiting += look(saga.succeeds(begun[-1]))

    assert begun == [*STEPS, "last"]
    saga.expect_status("COMPLETED")


def test_steps_that_are_skipped_among_them_change_nothing() -> None:
    """A decision has one budget, however often it looks what follows."""
    odd = {"when": Path("input.no")}
    large = {"input": Template(Path("input"))}
    steps = (step(name, **(odd if int(name[1:]) % 2 else large)) for name in STEPS)
    saga = Saga(workflow(*steps))

    assert look(saga.starts(OUTPUT)) == STEPS[:10:2]


def test_small_requests_are_sent_at_once_however_many() -> None:
    names = [f"s{number}" for number in range(1000)]
    saga = Saga(workflow(*(step(name, input=Template(Path("input"))) for name in names)))

    assert look(saga.starts({"order": "x" * 2000})) == names

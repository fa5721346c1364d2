"""The way forward: order of steps, conditions, mappings, and the end."""

from __future__ import annotations

import pytest

from domain.aggregate.rejection import RejectionCode
from domain.definition.definition import StepKind
from domain.definition.expression import Template
from domain.workflow.events import (
    IncidentRaised,
    StepExecuted,
    StepScheduled,
    StepSkipped,
    WorkflowCompleted,
    WorkflowFailed,
)
from tests.domain.definitions import Broken, Path, chain, diamond, step, with_pivot, workflow
from tests.domain.sagas import Saga


def test_a_chain_runs_in_order() -> None:
    """Each step is asked for when the one before it has answered; the last answer completes."""
    saga = Saga(chain("reserve", "charge", "pick")).starts()

    saga.succeeds("reserve").expect_events(StepExecuted, StepScheduled).expect_requests("charge")
    saga.succeeds("charge").expect_requests("pick")
    saga.after(seconds=2).succeeds("pick").expect_events(StepExecuted, WorkflowCompleted)

    saga.expect_status("COMPLETED", reserve="COMPLETED", charge="COMPLETED", pick="COMPLETED")
    assert saga.the(WorkflowCompleted).duration_ms == 2000
    assert saga.instance.executed_steps == ("reserve", "charge", "pick")
    assert saga.instance.all_steps_completed
    assert saga.instance.current_step_id is None


def test_a_diamond_waits_for_both_sides() -> None:
    """Both sides run at once and the step behind them never begins before both are done."""
    saga = Saga(diamond()).starts()

    saga.succeeds("reserve").expect_requests("pick", "charge")
    saga.succeeds("charge").expect_no_requests()
    saga.succeeds("pick").expect_requests("ship")

    saga.succeeds("ship").expect_status("COMPLETED")
    assert saga.instance.executed_steps == ("reserve", "charge", "pick", "ship")


def test_a_step_whose_condition_does_not_hold_is_skipped() -> None:
    """A skipped step is never asked for, says why, and lets its dependents run."""
    definition = workflow(
        step("reserve"), step("wrap", "reserve", when=Path("input.gift")), step("pick", "wrap")
    )

    saga = Saga(definition).starts({"gift": False}).succeeds("reserve")

    saga.expect_events(StepExecuted, StepSkipped, StepScheduled).expect_requests("pick")
    saga.expect_status("EXECUTING", wrap="SKIPPED", pick="EXECUTING")
    assert saga.the(StepSkipped).reason == "not so: input.gift"


def test_a_step_whose_condition_holds_runs() -> None:
    """A condition that holds changes nothing."""
    definition = workflow(step("reserve"), step("wrap", "reserve", when=Path("input.gift")))

    Saga(definition).starts({"gift": True}).succeeds("reserve").expect_requests("wrap")


def test_a_step_reads_input_outputs_and_context() -> None:
    """Mappings see the workflow's input, what earlier steps answered, and the context."""
    mapping = Template(
        {
            "order": Path("input.orderId"),
            "bin": Path("steps.reserve.output.bin"),
            "who": Path("context.userId"),
        }
    )
    definition = workflow(step("reserve"), step("pick", "reserve", input=mapping))

    saga = Saga(definition).starts({"orderId": "ORD-1"}, user_id="u-1")
    saga.succeeds("reserve", {"bin": 7})

    assert saga.the(StepScheduled).request.input == {"order": "ORD-1", "bin": 7, "who": "u-1"}


def test_the_output_of_a_workflow() -> None:
    """A workflow's output is made from its steps' outputs at the end."""
    definition = chain("reserve", output=Template({"bin": Path("steps.reserve.output.bin")}))

    saga = Saga(definition).starts().succeeds("reserve", {"bin": 7})

    assert saga.instance.output == {"bin": 7}
    assert saga.the(WorkflowCompleted).output == {"bin": 7}


def test_an_output_that_cannot_be_made_is_an_incident() -> None:
    """The work is done and stays done: the workflow completes and somebody has to look."""
    saga = Saga(chain("reserve", output=Template(Broken()))).starts().succeeds("reserve")

    saga.expect_events(StepExecuted, WorkflowCompleted, IncidentRaised).expect_status("COMPLETED")
    assert saga.the(IncidentRaised).code == "OUTPUT_MAPPING"


@pytest.mark.parametrize(
    "broken",
    [
        step("pick", "reserve", input=Template({"bin": Broken()})),
        step("pick", "reserve", when=Broken()),
    ],
)
def test_a_mapping_that_cannot_be_evaluated_fails_the_workflow(broken) -> None:
    """A step that cannot be asked for fails the workflow, which undoes what was done."""
    saga = Saga(workflow(step("reserve"), broken)).starts().succeeds("reserve")

    saga.expect_requests("undo reserve").expect_status("COMPENSATING", pick="PENDING")
    failed = saga.the(WorkflowFailed)
    assert (failed.step_id, failed.will_compensate) == ("pick", True)
    assert (failed.error.error_code, failed.error.error_type) == (
        "INPUT_MAPPING",
        "VALIDATION_ERROR",
    )


def test_a_broken_mapping_waits_for_a_pivot_that_may_have_happened() -> None:
    """Back or forward is known only when the pivot has answered."""
    definition = workflow(
        step("reserve"),
        step("charge", "reserve", kind=StepKind.PIVOT),
        step("weigh", "reserve", kind=StepKind.READ_ONLY),
        step("label", "weigh", kind=StepKind.READ_ONLY, input=Template(Broken())),
    )
    saga = Saga(definition).starts().succeeds("reserve").expect_requests("charge", "weigh")

    saga.succeeds("weigh").expect_no_requests().expect_status("EXECUTING")
    saga.executes("label").expect_refusal(RejectionCode.INVALID_INPUT, "the input of label: broken")

    saga.fails("charge").expect_requests("undo reserve").expect_status("COMPENSATING")
    assert saga.the(WorkflowFailed).step_id == "charge"


def test_replies_that_change_nothing_are_recorded() -> None:
    """A reply to an unknown or finished step, attempt or round is kept as ignored."""
    saga = Saga(chain("reserve", "charge")).starts()

    saga.succeeds("bogus", attempt=1, round=1).expect_ignored("no such step")
    saga.succeeds("charge").expect_ignored("never sent")
    saga.succeeds("reserve", attempt=2).expect_ignored("never sent")
    saga.succeeds("reserve", round=2).expect_ignored("round 1 is under way")
    saga.succeeds("reserve").expect_requests("charge")
    saga.succeeds("reserve").expect_ignored("the step is COMPLETED")
    saga.fails("reserve").expect_ignored("the step is COMPLETED")
    saga.undone("reserve", attempt=1).expect_ignored("never sent")


def test_nothing_follows_the_end() -> None:
    """A completed workflow takes note of late messages and asks for nothing."""
    saga = Saga(with_pivot()).starts().succeed("reserve", "charge", "ship")

    saga.expect_status("COMPLETED")
    saga.succeeds("ship").expect_ignored()
    saga.performed("ship").expect_ignored("no seal is open")

"""The point of no return: before it back, after it only forward."""

from __future__ import annotations

from domain.aggregate.rejection import RejectionCode
from domain.definition.definition import StepKind
from domain.workflow.commands import TimerKind
from domain.workflow.events import (
    IncidentRaised,
    StepFailed,
    StepRetryScheduled,
    StepUnresolved,
    WorkflowFailed,
)
from tests.domain.definitions import step, with_pivot, workflow
from tests.domain.sagas import Saga


def past_pivot() -> Saga:
    return Saga(with_pivot()).starts().succeed("reserve", "charge").expect_requests("ship")


def beside_a_pivot() -> Saga:
    """The pivot charge runs while weigh, which only reads, runs beside it."""
    definition = workflow(
        step("reserve"),
        step("charge", "reserve", kind=StepKind.PIVOT),
        step("weigh", "reserve", kind=StepKind.READ_ONLY),
    )
    return Saga(definition).starts().succeeds("reserve").expect_requests("charge", "weigh")


def test_past_the_pivot_a_step_is_repeated_until_it_succeeds() -> None:
    """Retries have no end there, because there is no way back."""
    saga = past_pivot()

    for attempt in range(2, 12):
        incident = (IncidentRaised,) if attempt == 6 else ()
        saga.unavailable("ship").expect_events(StepFailed, StepRetryScheduled, *incident)
        saga.retry_is_due("ship").expect_requests(f"ship#{attempt}")

    saga.succeeds("ship").expect_status("COMPLETED")


def test_past_the_pivot_a_final_failure_waits_for_people() -> None:
    """Nothing is undone: the workflow is FAILED with an incident, and a retry goes on forward."""
    saga = past_pivot().fails("ship").expect_events(StepFailed, WorkflowFailed, IncidentRaised)

    saga.expect_status("FAILED", reserve="COMPLETED", charge="COMPLETED")
    assert not saga.the(WorkflowFailed).will_compensate
    assert saga.the(IncidentRaised).code == "PAST_PIVOT"
    assert saga.instance.allowed_commands == ("retry", "force-compensate")
    saga.compensates().expect_refusal(RejectionCode.PAST_PIVOT, "only goes forward")
    saga.retries().expect_requests("ship#2").succeeds("ship").expect_status("COMPLETED")


def test_past_the_pivot_cancel_is_refused() -> None:
    """A workflow that only goes forward cannot be cancelled, nor undone when it is done."""
    saga = past_pivot().cancels().expect_refusal(RejectionCode.PAST_PIVOT)

    assert saga.instance.allowed_commands == ("pause", "signal")
    saga.succeeds("ship").compensates().expect_refusal(RejectionCode.PAST_PIVOT)
    assert saga.instance.allowed_commands == ()


def test_while_the_pivot_is_open_cancel_is_refused() -> None:
    """A pivot that runs, or timed out without an answer, may have happened."""
    saga = Saga(with_pivot()).starts().succeeds("reserve")

    saga.cancels().expect_refusal(RejectionCode.PAST_PIVOT, "charge of wf-1 may have happened")
    saga.times_out("charge").cancels().expect_refusal(RejectionCode.PAST_PIVOT)
    assert saga.instance.allowed_commands == ("pause", "signal")
    saga.pauses()
    assert saga.instance.allowed_commands == ("resume", "signal")


def test_before_the_pivot_cancel_is_possible() -> None:
    """A pivot that has not begun, or has failed for sure, holds nobody."""
    Saga(with_pivot()).starts().cancels(compensate=True).expect_requests("seal reserve")

    saga = Saga(with_pivot()).starts().succeeds("reserve").unavailable("charge")
    saga.cancels(compensate=True).expect_requests("undo reserve")


def test_a_pivot_that_fails_for_sure_is_compensated() -> None:
    """The pivot's own promise that nothing happened opens the way back."""
    saga = Saga(with_pivot()).starts().succeeds("reserve").fails("charge")

    saga.expect_requests("undo reserve").undone("reserve").expect_status("COMPENSATED")


def test_an_open_pivot_is_resolved_before_the_workflow_fails() -> None:
    """Silent to the last retry: its service is asked, and neither way is taken before it answers."""
    saga = Saga(with_pivot()).starts().succeeds("reserve").gives_no_answer("charge")

    saga.expect_events(StepFailed, StepUnresolved).expect_requests("seal charge").expect_status(
        "EXECUTING"
    )
    saga.fires(TimerKind.SEAL, "charge").expect_requests("seal charge#2")
    saga.sealed("charge").expect_requests("undo reserve").expect_status("COMPENSATING")
    assert saga.the(WorkflowFailed).step_id == "charge"


def test_an_open_pivot_that_was_performed_goes_forward() -> None:
    """The seal's answer `performed` is the pivot's success."""
    saga = Saga(with_pivot()).starts().succeeds("reserve").gives_no_answer("charge")

    saga.performed("charge", {"payment": 7}).expect_requests("ship").expect_status("EXECUTING")
    assert saga.instance.is_past_pivot


def test_another_steps_failure_waits_for_a_running_pivot() -> None:
    """A step beside the pivot has failed for good: the pivot's success means forward, to a hold."""
    saga = beside_a_pivot().fails("weigh").expect_events(StepFailed).expect_status("EXECUTING")

    saga.succeeds("charge").expect_status("FAILED", reserve="COMPLETED", charge="COMPLETED")
    assert saga.the(IncidentRaised).code == "PAST_PIVOT"


def test_another_steps_failure_waits_for_a_silent_pivot() -> None:
    """The pivot is not tried again then, but asked; its seal opens the way back."""
    saga = beside_a_pivot().fails("weigh").times_out("charge").expect_requests("seal charge")

    saga.sealed("charge").expect_requests("undo reserve").expect_status("COMPENSATING")
    assert saga.the(WorkflowFailed).step_id == "charge"


def test_another_steps_failure_and_the_pivots_failure() -> None:
    """Both have failed for sure: back at once, without a further try of the pivot."""
    saga = beside_a_pivot().fails("weigh").unavailable("charge").expect_requests("undo reserve")

    saga.undone("reserve").expect_status("COMPENSATED")


def test_force_goes_back_even_past_the_pivot() -> None:
    """An operator's force undoes what has an undo; the pivot has none and stays."""
    saga = past_pivot().fails("ship").forces().expect_requests("undo reserve")

    saga.undone("reserve").expect_status("COMPENSATED", charge="COMPLETED")

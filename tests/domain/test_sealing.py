"""Unknown outcomes: every way in which a step that may have happened is resolved (PROTOCOL rule 1)."""

from __future__ import annotations

from typing import Any

import pytest

from domain.aggregate.kind import Decided, Moment
from domain.definition.definition import OnCancel, OnFailure, StepKind, WorkflowDefinition
from domain.definition.retry import RetryPolicy
from domain.values import changed
from domain.workflow.commands import TimerKind
from domain.workflow.decide import decide
from domain.workflow.events import (
    CompensationCompleted,
    CompensationStarted,
    IncidentRaised,
    StepExecuted,
    StepReplyIgnored,
    StepScheduled,
    StepSealed,
    StepUnresolved,
    WorkflowCancelled,
)
from domain.workflow.status import CompensationStatus, StepStatus, WorkflowStatus
from domain.workflow.timers import timers_of
from tests.domain.definitions import chain, diamond, step, with_pivot, workflow
from tests.domain.sagas import Saga


def unresolved(**facts: Any) -> Saga:
    """reserve is done, charge never answered, and the workflow waits for its seal."""
    definition = chain("reserve", "charge", "pick", **facts)
    return Saga(definition).starts().succeeds("reserve").gives_no_answer("charge")


def test_what_the_step_depends_on_waits_for_the_seal() -> None:
    """reserve is not undone before it is known whether charge, which is built on it, happened."""
    saga = unresolved()

    saga.expect_requests("seal charge").expect_status("COMPENSATING", reserve="COMPLETED")
    asked = saga.the(StepUnresolved)
    assert asked.idempotency_key == "wf-1/charge/1"
    assert (asked.request.service, asked.request.operation) == ("charge-service", "do-charge")
    assert saga.instance.unresolved == ("charge",)


def test_performed_then_undone() -> None:
    """A step that turns out to be done is compensated like any completed step, with its output."""
    saga = unresolved().performed("charge", {"payment": 7})

    saga.expect_events(StepSealed, StepScheduled).expect_requests("undo charge")
    assert saga.the(StepScheduled).request.step_output == {"payment": 7}
    saga.undone("charge").expect_requests("undo reserve").undone("reserve").expect_status(
        "COMPENSATED"
    )
    assert saga.instance.compensated_steps == ("charge", "reserve")
    assert saga.instance.executed_steps == ("reserve", "charge")


def test_sealed_then_nothing_to_undo() -> None:
    """A sealed step was not done and never will be; what was done before it is undone."""
    saga = unresolved().sealed("charge").expect_requests("undo reserve")

    saga.undone("reserve").expect_status("COMPENSATED", charge="FAILED")
    assert saga.instance.compensated_steps == ("reserve",)
    assert not saga.instance.unresolved


@pytest.mark.parametrize("attempt", [1, 4])
def test_a_late_success_answers_the_seal_as_well(attempt: int) -> None:
    """The success of any attempt, come while the seal is open, resolves the step."""
    saga = unresolved().succeeds("charge", attempt=attempt)

    saga.expect_events(StepExecuted, StepScheduled).expect_requests("undo charge")
    saga.performed("charge").expect_ignored("no seal is open")


def test_late_failures_of_every_attempt_resolve_the_step() -> None:
    """A failed reply is a promise; when all attempts have made it, nothing is open any more."""
    saga = unresolved()

    for attempt in (1, 2, 3):
        saga.fails("charge", attempt=attempt).expect_ignored("FAILED at attempt 4")
        assert saga.the(StepReplyIgnored).resolves == attempt
    saga.fails("charge", attempt=4).expect_events(StepReplyIgnored, StepScheduled)

    saga.expect_requests("undo reserve")
    saga.sealed("charge").expect_ignored("no seal is open")


def test_the_same_failure_twice_resolves_once() -> None:
    """A duplicate answer leaves the other attempts open."""
    saga = unresolved().fails("charge", attempt=1).fails("charge", attempt=1).expect_ignored()

    assert saga.the(StepReplyIgnored).resolves is None
    assert saga.instance.steps["charge"].unanswered == (2, 3, 4)


def test_an_unknown_failure_resolves_nothing() -> None:
    """An answer that cannot promise anything leaves its attempt open."""
    saga = unresolved().fails("charge", "UNKNOWN", attempt=1).expect_ignored()

    assert saga.instance.steps["charge"].unanswered == (1, 2, 3, 4)


def test_the_seal_is_asked_for_until_it_is_answered() -> None:
    """Seals have a back-off of their own, from one second to five minutes, whatever the step's policy is."""
    fast = RetryPolicy(max_retries=0, initial_delay_ms=1, max_delay_ms=1)
    saga = unresolved(each=lambda _: {"retry": fast})

    delays: list[float] = []
    for attempt in range(2, 13):
        asked_at = saga.now
        saga.fires(TimerKind.SEAL, "charge").expect_requests(f"seal charge#{attempt}")
        delays.append((saga.now - asked_at).total_seconds())

    assert delays == [1, 2, 4, 8, 16, 32, 64, 128, 256, 300, 300]
    saga.sealed("charge").expect_requests("undo reserve")
    assert TimerKind.SEAL not in {timer.firing.name for timer in timers_of(saga.instance)}


def test_five_seals_without_an_answer_are_one_incident() -> None:
    """A misspelt service never answers: somebody is told which one, once, and the seals go on."""
    saga = unresolved()
    for _ in range(4):
        saga.fires(TimerKind.SEAL, "charge").expect_events(StepUnresolved)

    saga.fires(TimerKind.SEAL, "charge").expect_events(StepUnresolved, IncidentRaised)
    incident = saga.the(IncidentRaised)
    assert (incident.code, incident.step_id) == ("SEAL_UNANSWERED", "charge")
    assert "charge-service" in incident.detail
    for _ in range(20):
        saga.fires(TimerKind.SEAL, "charge").expect_events(StepUnresolved)


def with_read_only(*, parallel: bool = False) -> WorkflowDefinition:
    """reserve, then look, which changes nothing, and pick after (or side by side with) it."""
    after = "reserve" if parallel else "look"
    return workflow(
        step("reserve"), step("look", "reserve", kind=StepKind.READ_ONLY), step("pick", after)
    )


def test_a_read_only_step_is_never_unresolved() -> None:
    """It changes nothing, so nobody has to answer for its attempts: what is done is undone at once."""
    saga = Saga(with_read_only()).starts().succeeds("reserve").times_out("look")
    assert not saga.instance.unresolved

    saga.retry_is_due("look").gives_no_answer("look")

    saga.expect_requests("undo reserve").undone("reserve").expect_status("COMPENSATED")
    assert not saga.all_of(StepUnresolved)
    saga.succeeds("look").expect_ignored()


@pytest.mark.parametrize("command", ["fails", "cancels", "forces"])
def test_nobody_waits_for_a_running_read_only_step(command: str) -> None:
    """Whatever ends the workflow, a read that is still under way is left alone."""
    saga = Saga(with_read_only(parallel=True)).starts().succeeds("reserve")
    if command == "fails":
        saga.fails("pick").expect_requests("undo reserve").undone("reserve").expect_status(
            "COMPENSATED"
        )
    else:
        saga.succeeds("pick").cancels(compensate=False).expect_status("CANCELLED")
        if command == "forces":
            saga.forces().expect_requests("undo pick")

    saga.expect_status(saga.instance.status, look="FAILED")
    assert not saga.all_of(StepUnresolved)
    assert TimerKind.STEP_TIMEOUT not in {t.firing.name for t in timers_of(saga.instance)}


def test_a_read_only_step_that_an_older_version_asks_about_is_let_go() -> None:
    """Histories of before have open attempts of read-only steps: their seal's timer ends them."""
    saga = Saga(with_read_only()).starts().succeeds("reserve")
    execution = changed(
        saga.instance.steps["look"],
        status=StepStatus.FAILED,
        deadline=None,
        seal_attempt=1,
        seal_due_at=saga.now,
    )
    old = changed(
        saga.instance,
        status=WorkflowStatus.COMPENSATING,
        compensation_status=CompensationStatus.RUNNING,
        steps={**saga.instance.steps, "look": execution},
    )
    (timer,) = timers_of(old)

    decided = decide(old, timer.firing, Moment(saga.now))

    assert isinstance(decided, Decided)
    assert [type(event) for event in decided.events] == [StepSealed, StepScheduled]


def test_a_success_after_the_seal_needs_somebody_to_look() -> None:
    """Sealed is sealed: whoever says otherwise is not believed, and may have done what nobody will undo."""
    saga = unresolved().sealed("charge")

    saga.succeeds("charge").expect_events(StepReplyIgnored, IncidentRaised).expect_status(
        "COMPENSATING", charge="FAILED"
    )
    incident = saga.the(IncidentRaised)
    assert (incident.code, incident.step_id) == ("PERFORMED_AFTER_ALL", "charge")
    assert "charge-service" in incident.detail


def test_a_success_after_the_undo_needs_somebody_to_look() -> None:
    """In a compensated workflow every answer is in: another one changes nothing, and somebody has to undo by hand."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").fails("charge")
    saga.undone("reserve").expect_status("COMPENSATED")

    saga.succeeds("charge").expect_events(StepReplyIgnored, IncidentRaised)
    saga.expect_status("COMPENSATED", charge="FAILED")
    assert saga.the(IncidentRaised).code == "PERFORMED_AFTER_ALL"
    # What was done and undone is said twice now and then: nobody needs to look.
    saga.succeeds("reserve").expect_ignored("the step is COMPENSATED")


@pytest.mark.parametrize("facts", [{"round": 2}, {"round": 0}])
def test_the_seal_of_another_round_is_ignored(facts: dict[str, int]) -> None:
    """A seal answers its own round only."""
    unresolved().sealed("charge", **facts).expect_ignored("no seal is open")


def test_a_seal_that_nobody_asked_for_is_ignored() -> None:
    """A running step is not sealed by an answer out of nowhere."""
    saga = Saga(chain("reserve")).starts()

    saga.sealed("reserve").expect_ignored("no seal is open")
    saga.sealed("bogus", round=1).expect_ignored("no seal is open")


def test_sides_that_do_not_depend_on_the_step_are_undone_meanwhile() -> None:
    """Only what the unresolved step is built on has to wait."""
    saga = Saga(diamond()).starts().succeed("reserve", "pick").gives_no_answer("charge")

    saga.expect_requests("seal charge", "undo pick")
    saga.undone("pick").expect_no_requests()
    saga.sealed("charge").expect_requests("undo reserve").undone("reserve").expect_status(
        "COMPENSATED"
    )


# -- cancel while a step runs --------------------------------------------------------------------


def test_cancel_and_leave() -> None:
    """The workflow is cancelled at once; what runs is sealed, and stays done if it was."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").cancels()

    saga.expect_events(WorkflowCancelled, StepUnresolved).expect_requests("seal charge")
    saga.expect_status("CANCELLED", charge="FAILED")
    saga.fires(TimerKind.SEAL, "charge").expect_requests("seal charge#2")

    saga.performed("charge").expect_events(StepSealed).expect_status(
        "CANCELLED", charge="COMPLETED"
    )
    assert not timers_of(saga.instance)


def test_cancel_and_leave_what_was_never_done() -> None:
    """Sealed after a cancel: nothing happened, nothing is open."""
    saga = Saga(chain("reserve")).starts().cancels().sealed("reserve")

    saga.expect_status("CANCELLED", reserve="FAILED")
    assert not saga.instance.unresolved


def test_cancel_and_compensate() -> None:
    """Cancelled and compensating in one commit; the running step is resolved before the others."""
    saga = Saga(chain("reserve", "charge", on_cancel=OnCancel.COMPENSATE))
    saga.starts().succeeds("reserve").cancels()

    saga.expect_events(WorkflowCancelled, CompensationStarted, StepUnresolved).expect_requests(
        "seal charge"
    )
    saga.succeeds("charge").expect_requests("undo charge").undone("charge").expect_requests(
        "undo reserve"
    )
    saga.undone("reserve").expect_status("COMPENSATED")
    assert saga.instance.cancel_reason == "Cancelled by user"


def test_cancel_while_a_step_waits_for_its_retry_without_an_answer() -> None:
    """An attempt that timed out before the cancel is as open as one that runs."""
    saga = (
        Saga(chain("reserve", on_cancel=OnCancel.COMPENSATE))
        .starts()
        .times_out("reserve")
        .cancels()
    )

    saga.expect_requests("seal reserve").sealed("reserve").expect_status("COMPENSATED")
    assert saga.the(CompensationCompleted).compensated_steps == ()


# -- rounds --------------------------------------------------------------------------------------


def test_a_sealed_step_runs_again_in_a_new_round() -> None:
    """The old key is refused for ever, so a retry has a new one and counts its attempts anew."""
    saga = Saga(with_pivot(on_failure=OnFailure.HOLD)).starts().succeeds("reserve")
    saga.gives_no_answer("charge").sealed("charge").expect_status("FAILED")

    saga.retries().expect_requests("charge@2")

    assert saga.the(StepScheduled).idempotency_key == "wf-1/charge/2"
    saga.succeeds("charge", round=1, attempt=1).expect_ignored("round 2 is under way")
    saga.succeeds("charge").expect_requests("ship")


def test_a_step_that_was_asked_to_seal_runs_again_in_a_new_round() -> None:
    """Resolved by its failures, the step may have been sealed all the same by the open request."""
    saga = Saga(with_pivot(on_failure=OnFailure.HOLD)).starts().succeeds("reserve")
    saga.gives_no_answer("charge").expect_requests("seal charge")
    for attempt in (1, 2, 3, 4):
        saga.fails("charge", attempt=attempt)

    saga.expect_status("FAILED").retries().expect_requests("charge@2")
    assert saga.instance.steps["charge"].unanswered == (1,)


def test_a_step_that_was_never_sealed_keeps_its_round() -> None:
    """A retry of a step that is merely unresolved shares the key, so that it is done once."""
    saga = unresolved(on_failure=OnFailure.HOLD).expect_status("FAILED")

    saga.retries().expect_requests("charge#5")

    assert saga.instance.steps["charge"].unanswered == (1, 2, 3, 4, 5)
    saga.succeeds("charge", attempt=2).expect_requests("pick")

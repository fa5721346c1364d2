"""Backward recovery: reverse over the graph, and what happens when an undo fails."""

from __future__ import annotations

import pytest

from domain.definition.definition import OnFailure, StepKind
from domain.workflow.commands import TimerKind
from domain.workflow.events import (
    CompensationCompleted,
    CompensationStarted,
    IncidentRaised,
    IncidentResolved,
    StepCompensated,
    StepCompensationFailed,
    StepFailed,
    StepScheduled,
    StepSealed,
    StepUnresolved,
    WorkflowFailed,
)
from tests.domain.definitions import chain, diamond, step, undo_of, workflow
from tests.domain.sagas import Saga


def compensating() -> Saga:
    """Three of four steps are done, the last has failed, the third is being undone."""
    saga = Saga(chain("reserve", "charge", "pick", "pack")).starts()
    return saga.succeed("reserve", "charge", "pick").fails("pack")


def undo_failed() -> Saga:
    """As `compensating`, but the first undo has failed for good."""
    return compensating().undo_fails("pick")


def test_a_chain_is_undone_backwards() -> None:
    """Failed, compensation started and the first undo are one commit; then one after the other."""
    saga = compensating()

    saga.expect_events(StepFailed, WorkflowFailed, CompensationStarted, StepScheduled)
    saga.expect_requests("undo pick").undone("pick").expect_requests("undo charge")
    saga.undone("charge").expect_requests("undo reserve")
    saga.undone("reserve").expect_events(StepCompensated, CompensationCompleted)

    saga.expect_status("COMPENSATED", reserve="COMPENSATED", charge="COMPENSATED", pack="FAILED")
    started, ended = saga.the(CompensationStarted), saga.the(CompensationCompleted)
    assert (started.trigger, started.reason) == ("FAILURE", "pack is not possible")
    assert started.steps == ended.compensated_steps == ("pick", "charge", "reserve")
    assert (ended.success, ended.failed_steps) == (True, ())


@pytest.mark.parametrize("failing", range(5))
def test_only_what_was_done_is_undone(failing: int) -> None:
    """Wherever the chain breaks, exactly the steps before are undone, in reverse."""
    names = ["reserve", "charge", "assign", "pick", "pack"]
    saga = Saga(chain(*names)).starts().succeed(*names[:failing]).fails(names[failing])

    for name in reversed(names[:failing]):
        saga.expect_requests(f"undo {name}").undone(name)

    saga.expect_status("COMPENSATED")
    assert saga.instance.compensated_steps == tuple(reversed(names[:failing]))


def test_a_diamond_is_undone_side_by_side() -> None:
    """Undos run at once only where nothing orders them, and before what both are built on."""
    saga = Saga(diamond()).starts().succeed("reserve", "charge", "pick").fails("ship")

    saga.expect_requests("undo pick", "undo charge").undone("charge").expect_no_requests()
    saga.undone("pick").expect_requests("undo reserve")
    assert saga.all_of(CompensationStarted)[0].steps == ("pick", "charge", "reserve")


def test_a_step_with_nothing_to_undo_keeps_the_order() -> None:
    """A read-only step between two others is passed over, and orders them still."""
    definition = workflow(
        step("reserve"),
        step("look", "reserve", kind=StepKind.READ_ONLY),
        step("charge", "look"),
        step("pick", "charge"),
    )
    saga = Saga(definition).starts().succeed("reserve", "look", "charge").fails("pick")

    saga.expect_requests("undo charge").undone("charge").expect_requests("undo reserve").undone(
        "reserve"
    )

    saga.expect_status("COMPENSATED", look="COMPLETED", reserve="COMPENSATED")


def test_nothing_done_is_compensated_at_once() -> None:
    """A workflow whose first step fails ends compensated in the same commit."""
    saga = Saga(chain("reserve")).starts().fails("reserve").expect_status("COMPENSATED")

    assert saga.instance.compensation_progress == 100


def test_a_workflow_that_holds_waits_for_people() -> None:
    """`onFailure: hold` stays FAILED; an operator compensates it."""
    saga = Saga(chain("reserve", "charge", on_failure=OnFailure.HOLD)).starts().succeeds("reserve")

    saga.fails("charge").expect_events(StepFailed, WorkflowFailed).expect_status("FAILED")
    saga.compensates().expect_requests("undo reserve").undone("reserve").expect_status(
        "COMPENSATED"
    )
    assert saga.the(CompensationStarted).trigger == "COMMAND"


def test_a_completed_workflow_is_undone_by_command() -> None:
    """An operator may undo a completed workflow without a pivot."""
    saga = Saga(chain("reserve", "charge")).starts().succeed("reserve", "charge").compensates()

    saga.expect_requests("undo charge").undone("charge").undone("reserve").expect_status(
        "COMPENSATED"
    )


# -- an undo fails -------------------------------------------------------------------------------


def test_an_undo_is_retried_with_the_steps_policy() -> None:
    """A passing failure or a time-out of an undo is repeated after the step's backoff."""
    saga = compensating().undo_fails("pick", "SERVICE_UNAVAILABLE")

    assert saga.the(StepCompensationFailed).will_retry
    saga.fires(TimerKind.UNDO_RETRY, "pick").expect_requests("undo pick#2")
    saga.fires(TimerKind.UNDO_TIMEOUT, "pick").fires(TimerKind.UNDO_RETRY, "pick")
    saga.expect_requests("undo pick#3").undone("pick").expect_requests("undo charge")


def test_the_success_of_an_earlier_undo_counts() -> None:
    """All attempts of an undo share one key, so the success of any is enough."""
    saga = compensating().fires(TimerKind.UNDO_TIMEOUT, "pick").undone("pick", attempt=1)

    saga.expect_requests("undo charge")


def test_the_failure_of_an_earlier_undo_is_ignored() -> None:
    """Only the running attempt of an undo can fail it."""
    saga = compensating().fires(TimerKind.UNDO_TIMEOUT, "pick")

    saga.undo_fails("pick", attempt=1).expect_ignored("attempt 1 of the undo counts")
    saga.fires(TimerKind.UNDO_RETRY, "pick").undo_fails("pick", attempt=1).expect_ignored()


def test_an_undo_that_was_never_sent_is_ignored() -> None:
    """An answer to an attempt to come is none."""
    compensating().undone("pick", attempt=2).expect_ignored("never sent")


def test_an_undo_that_fails_for_good_stops_the_compensation() -> None:
    """Nothing more is undone, the workflow is FAILED, and somebody has to look."""
    saga = undo_failed()

    saga.expect_events(StepCompensationFailed, CompensationCompleted, IncidentRaised)
    saga.expect_status("FAILED", pick="COMPENSATING", charge="COMPLETED")
    ended, incident = saga.the(CompensationCompleted), saga.the(IncidentRaised)
    assert (ended.success, ended.failed_steps) == (False, ("pick",))
    assert (incident.code, incident.step_id) == ("COMPENSATION_FAILED", "pick")
    assert saga.instance.compensation_status == "FAILED"
    saga.undone("pick").expect_ignored("no undo is open")


def test_an_undo_that_times_out_for_good_stops_the_compensation() -> None:
    """After the policy's retries a silent participant fails the undo."""
    saga = compensating()
    for _ in range(3):
        saga.fires(TimerKind.UNDO_TIMEOUT, "pick").fires(TimerKind.UNDO_RETRY, "pick")

    saga.fires(TimerKind.UNDO_TIMEOUT, "pick").expect_status("FAILED")

    assert saga.instance.compensation_status == "FAILED"


def test_undos_that_run_are_awaited_before_the_end() -> None:
    """One side's undo fails, the other's still runs: the end waits for its answer."""
    saga = Saga(diamond()).starts().succeed("reserve", "charge", "pick").fails("ship")

    saga.undo_fails("charge").expect_events(StepCompensationFailed).expect_status("COMPENSATING")
    saga.undone("pick").expect_no_requests().expect_status("FAILED", pick="COMPENSATED")


def test_compensating_again_tries_the_failed_undo_again() -> None:
    """The operator's second try undoes what failed and then all the rest."""
    saga = undo_failed().compensates().expect_requests("undo pick#2")

    saga.undone("pick").expect_requests("undo charge").undone("charge").undone("reserve")

    saga.expect_status("COMPENSATED")
    assert saga.instance.compensated_steps == ("pick", "charge", "reserve")


def test_compensating_again_has_all_retries_again() -> None:
    """A second try has the policy's retries anew; attempt numbers go on."""
    saga = undo_failed().compensates().undo_fails("pick", "SERVICE_UNAVAILABLE")

    assert saga.the(StepCompensationFailed).will_retry
    saga.fires(TimerKind.UNDO_RETRY, "pick").expect_requests("undo pick#3")


# -- verification --------------------------------------------------------------------------------


def verifying() -> Saga:
    definition = workflow(
        step("reserve", compensation=undo_of("reserve", verify=True)), step("charge", "reserve")
    )
    saga = Saga(definition).starts().succeeds("reserve").fails("charge").undone("reserve")
    return saga.expect_requests("verify reserve#2")


def test_an_undo_is_verified_before_the_next() -> None:
    """With a verification the undo counts only when the check has said yes."""
    saga = verifying()

    assert saga.the(StepScheduled).operation == "check-reserve"
    assert saga.the(StepScheduled).idempotency_key == "wf-1/reserve/1/verify"
    saga.undone("reserve").expect_ignored("no undo is open")
    saga.verified("reserve", {"verified": True}).expect_status("COMPENSATED")


def test_a_check_that_says_no_fails_the_undo() -> None:
    """`verified: false` is a failed undo, and an operator may compensate again."""
    saga = verifying().verified("reserve", {"verified": False}).expect_status("FAILED")

    assert saga.the(StepCompensationFailed).error_code == "NOT_VERIFIED"
    saga.compensates().expect_requests("undo reserve#3").undone("reserve").expect_requests(
        "verify reserve#4"
    )
    saga.verified("reserve").expect_status("COMPENSATED")


def test_a_check_is_retried_as_a_check() -> None:
    """A check that times out is repeated, the undo before it is not."""
    saga = verifying().fires(TimerKind.UNDO_TIMEOUT, "reserve")

    saga.fires(TimerKind.UNDO_RETRY, "reserve").expect_requests("verify reserve#3")


# -- force ---------------------------------------------------------------------------------------


def test_force_tries_first_and_then_takes_the_operators_word() -> None:
    """What can be undone is undone; what cannot is taken as undone, and says so."""
    saga = undo_failed().forces().expect_requests("undo pick#2")

    saga.undo_fails("pick").expect_events(
        StepCompensationFailed, StepCompensated, IncidentResolved, StepScheduled
    )
    assert saga.the(StepCompensated).forced
    saga.expect_requests("undo charge").undone("charge").undone("reserve").expect_status(
        "COMPENSATED"
    )
    assert not saga.the(StepCompensated).forced


def test_force_while_compensating() -> None:
    """Forced in the middle, a failing undo no longer stops the compensation."""
    saga = compensating().forces().expect_no_requests()

    saga.undo_fails("pick").expect_requests("undo charge").expect_status(
        "COMPENSATING", pick="COMPENSATED"
    )


def test_force_gives_up_waiting_for_a_seal() -> None:
    """Who does not answer is not waited for; an incident says that nobody knows."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").gives_no_answer("charge")

    saga.forces().expect_events(CompensationStarted, StepSealed, IncidentRaised, StepScheduled)

    assert saga.the(StepSealed).forced
    assert saga.the(IncidentRaised).code == "UNRESOLVED"
    saga.expect_requests("undo reserve").performed("charge").expect_ignored("no seal is open")
    saga.undone("reserve").expect_status("COMPENSATED", charge="FAILED")


def test_force_asks_once_what_was_never_asked() -> None:
    """An unresolved step is asked to seal before it is given up, so that it is not done later."""
    saga = Saga(chain("reserve", "charge", on_failure=OnFailure.HOLD)).starts().succeeds("reserve")
    saga.gives_no_answer("charge").expect_status("FAILED")

    saga.forces().expect_requests("seal charge", "undo reserve")
    saga.undone("reserve").expect_status("COMPENSATED")


def test_force_after_a_cancel_gives_up_what_runs() -> None:
    """A cancelled workflow may be undone by force."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").cancels()

    saga.forces().expect_events(CompensationStarted, StepSealed, IncidentRaised, StepScheduled)
    saga.undone("reserve").expect_status("COMPENSATED")


def test_force_while_a_step_of_a_held_workflow_runs() -> None:
    """A step that still runs is asked to seal and not waited for."""
    saga = Saga(diamond(on_failure=OnFailure.HOLD)).starts().succeeds("reserve").fails("pick")

    saga.forces()
    saga.expect_events(
        CompensationStarted, StepUnresolved, StepSealed, IncidentRaised, StepScheduled
    )
    saga.expect_requests("seal charge", "undo reserve")

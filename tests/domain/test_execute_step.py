"""An operator dispatches a step, or tells its outcome in the participant's name."""

from __future__ import annotations

from domain.aggregate.rejection import RejectionCode
from domain.workflow.events import StepExecuted, StepFailed, StepReplyIgnored, StepScheduled
from domain.workflow.failure import WorkflowError
from tests.domain.definitions import chain, diamond
from tests.domain.sagas import Saga


def executing() -> Saga:
    return Saga(chain("reserve", "charge")).starts().succeeds("reserve")


def test_a_step_that_waits_for_its_retry_is_dispatched_now() -> None:
    """An operator need not wait for the backoff, and may send another input."""
    saga = executing().unavailable("charge").executes("charge", input={"card": 2})

    saga.expect_requests("charge#2")
    assert saga.the(StepScheduled).request.input == {"card": 2}
    assert saga.the(StepScheduled).actor == "alice"


def test_a_step_is_not_dispatched_before_what_it_needs() -> None:
    """The refusal names what the step waits for."""
    saga = Saga(diamond()).starts().succeeds("reserve").executes("ship")

    saga.expect_refusal(RejectionCode.DEPENDENCY_NOT_MET, "ship waits for pick, charge")


def test_a_running_or_finished_step_is_not_dispatched() -> None:
    """Only a step that waits can be dispatched."""
    executing().executes("charge").expect_refusal(
        RejectionCode.ILLEGAL_STATUS, "charge is EXECUTING"
    )
    executing().executes("reserve").expect_refusal(
        RejectionCode.ILLEGAL_STATUS, "reserve is COMPLETED"
    )


def test_an_unknown_step_is_not_dispatched() -> None:
    """The refusal names the steps that there are."""
    executing().executes("bogus").expect_refusal(
        RejectionCode.INVALID_INPUT, "it has reserve, charge"
    )


def test_an_operator_records_a_success() -> None:
    """The outcome counts as the participant's, under the operator's name."""
    saga = executing().executes("charge", has_result=True, output={"payment": 7})

    executed = saga.the(StepExecuted)
    assert (executed.output, executed.actor) == ({"payment": 7}, "alice")
    saga.expect_status("COMPLETED")


def test_an_operator_records_a_failure() -> None:
    """A recorded failure is a failure: here it is final, and the workflow compensates."""
    error = WorkflowError.create("charge", "bank", "NO", "closed", "BUSINESS_RULE_VIOLATION")

    saga = executing().executes("charge", has_result=True, error=error)

    assert (saga.the(StepFailed).actor, saga.the(StepFailed).error_code) == ("alice", "NO")
    saga.expect_requests("undo reserve")


def test_an_operator_answers_for_an_attempt_without_an_answer() -> None:
    """A recorded failure of a step that waits for its retry resolves the attempt."""
    error = WorkflowError.create("charge", "bank", "NO", "closed", "BUSINESS_RULE_VIOLATION")

    saga = executing().times_out("charge").executes("charge", has_result=True, error=error)

    saga.expect_events(StepReplyIgnored)
    assert saga.the(StepReplyIgnored).resolves == 1
    assert not saga.instance.unresolved


def test_no_result_is_recorded_for_a_finished_step() -> None:
    """What is done is done."""
    saga = executing().executes("reserve", has_result=True)

    saga.expect_refusal(RejectionCode.ILLEGAL_STATUS, "a result needs EXECUTING or FAILED")

"""Forward recovery: a step is tried again as far as its error and its policy allow."""

from __future__ import annotations

from datetime import timedelta

from domain.definition.retry import RetryPolicy
from domain.workflow.commands import TimerKind
from domain.workflow.events import (
    CompensationStarted,
    StepFailed,
    StepRetryScheduled,
    StepScheduled,
    WorkflowFailed,
)
from domain.workflow.timers import timers_of
from tests.domain.definitions import chain, step, workflow
from tests.domain.sagas import T0, Saga


def test_fails_twice_then_succeeds() -> None:
    """Attempts go out after 1 and 2 s more; the third succeeds and nothing is compensated."""
    saga = Saga(chain("reserve", "charge")).starts()

    saga.unavailable("reserve").expect_events(StepFailed, StepRetryScheduled)
    saga.retry_is_due("reserve").expect_events(StepScheduled).expect_requests("reserve#2")
    saga.unavailable("reserve").retry_is_due("reserve").expect_requests("reserve#3")
    saga.succeeds("reserve").expect_requests("charge")

    attempts = [event.occurred_at - T0 for event in saga.all_of(StepScheduled)]
    assert attempts == [timedelta(seconds=after) for after in (0, 1, 3, 3)]
    assert saga.instance.steps["reserve"].retry_count == 2
    assert saga.instance.steps["reserve"].error is None
    assert not saga.all_of(CompensationStarted)


def test_all_attempts_share_idempotency_key_and_input() -> None:
    """A later attempt is the same request again: its number alone differs."""
    saga = Saga(chain("reserve")).starts().unavailable("reserve").retry_is_due("reserve")

    first, second = saga.all_of(StepScheduled)

    assert first.idempotency_key == second.idempotency_key == "wf-1/reserve/1"
    assert first.request.input == second.request.input


def test_a_failure_tells_what_comes_next() -> None:
    """The event says whether the error is recoverable and when the next attempt goes out."""
    saga = Saga(chain("reserve")).starts().unavailable("reserve")

    failed, promised = saga.the(StepFailed), saga.the(StepRetryScheduled)
    due = T0 + timedelta(seconds=1)
    assert (failed.attempt, failed.recoverable, failed.will_retry) == (1, True, True)
    assert failed.answered
    assert failed.next_attempt_at == promised.due_at == due
    assert promised.attempt == 2
    assert saga.timer(TimerKind.STEP_RETRY, "reserve").due_at == due


def test_retries_end() -> None:
    """The fourth failure is final: no retry, the workflow fails with the step's error."""
    saga = Saga(chain("reserve")).starts()
    for _ in range(3):
        saga.unavailable("reserve").retry_is_due("reserve")

    saga.unavailable("reserve")

    assert len(saga.all_of(StepFailed)) == 4
    assert not saga.the(StepFailed).will_retry
    assert saga.the(WorkflowFailed).error.error_type == "SERVICE_UNAVAILABLE"
    saga.expect_status("COMPENSATED", reserve="FAILED")


def test_an_unrecoverable_error_is_not_retried() -> None:
    """A rule that was broken stays broken: the workflow fails at the first attempt."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").fails("charge")

    assert not saga.the(StepFailed).will_retry
    saga.expect_requests("undo reserve").expect_status("COMPENSATING", charge="FAILED")
    assert [error.error_code for error in saga.instance.errors] == ["NOT_POSSIBLE"]


def test_the_participant_may_overrule_the_type() -> None:
    """`retryable` in the reply decides, whatever the type's default is."""
    saga = Saga(chain("reserve")).starts()

    saga.fails("reserve", "BUSINESS_RULE_VIOLATION", recoverable=True)
    assert saga.the(StepFailed).will_retry

    saga.retry_is_due("reserve").fails("reserve", "SERVICE_UNAVAILABLE", recoverable=False)
    assert not saga.the(StepFailed).will_retry


def test_each_step_has_its_own_policy() -> None:
    """A step with one retry has exactly two attempts."""
    definition = workflow(step("reserve", retry=RetryPolicy(max_retries=1)))

    saga = Saga(definition).starts().unavailable("reserve").retry_is_due("reserve")
    saga.unavailable("reserve")

    assert [event.attempt for event in saga.all_of(StepScheduled)] == [1, 2]
    saga.expect_status("COMPENSATED")


def test_the_failure_of_an_old_attempt_is_ignored() -> None:
    """Only the running attempt can fail a step."""
    saga = Saga(chain("reserve")).starts().times_out("reserve").retry_is_due("reserve")

    saga.unavailable("reserve", attempt=1).expect_ignored("EXECUTING at attempt 2")

    saga.expect_status("EXECUTING", reserve="EXECUTING")
    assert saga.instance.steps["reserve"].unanswered == (2,)


def test_a_retry_that_fell_due_while_paused_goes_out_on_resume() -> None:
    """A paused workflow starts no attempt; resuming makes up for it."""
    saga = Saga(chain("reserve")).starts().unavailable("reserve").pauses()
    assert not timers_of(saga.instance)

    saga.after(minutes=1).resumes().expect_requests("reserve#2")


def test_a_retry_not_yet_due_is_left_to_its_timer() -> None:
    """Resuming early does not hurry a retry."""
    saga = Saga(chain("reserve")).starts().unavailable("reserve").pauses().resumes()

    saga.expect_no_requests().retry_is_due("reserve").expect_requests("reserve#2")


def test_a_failure_while_paused_waits_for_resume() -> None:
    """A paused workflow takes the reply and fails only when it goes on."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").pauses()

    saga.fails("charge").expect_events(StepFailed).expect_status("PAUSED", charge="FAILED")
    saga.resumes().expect_requests("undo reserve").expect_status("COMPENSATING")

"""Time-outs of steps and of the whole workflow; a time-out says nothing about the effect."""

from __future__ import annotations

from datetime import timedelta

from domain.definition.definition import OnFailure
from domain.definition.retry import RetryPolicy
from domain.workflow.commands import TimerKind
from domain.workflow.events import (
    CompensationStarted,
    StepExecuted,
    StepFailed,
    StepUnresolved,
    WorkflowFailed,
)
from domain.workflow.timers import timers_of
from tests.domain.definitions import chain, diamond, step, with_pivot, workflow
from tests.domain.sagas import T0, Saga


def test_a_step_times_out_after_its_own_time() -> None:
    """Without an answer in 5 s the attempt fails as TIMEOUT and is tried again."""
    saga = Saga(chain("reserve")).starts()
    assert saga.timer(TimerKind.STEP_TIMEOUT, "reserve").due_at == T0 + timedelta(seconds=5)
    assert saga.instance.steps["reserve"].has_timed_out(T0 + timedelta(seconds=5))

    saga.times_out("reserve")

    failed = saga.the(StepFailed)
    assert (failed.error_type, failed.answered, failed.will_retry) == ("TIMEOUT", False, True)
    assert saga.instance.steps["reserve"].unanswered == (1,)
    assert saga.instance.unresolved == ("reserve",)
    saga.retry_is_due("reserve").expect_requests("reserve#2")


def test_a_late_success_of_an_old_attempt_completes_the_step() -> None:
    """All attempts share one key, so the success of any is the step's."""
    saga = Saga(chain("reserve", "charge")).starts().times_out("reserve").retry_is_due("reserve")

    saga.succeeds("reserve", {"id": 1}, attempt=1).expect_requests("charge")

    assert saga.the(StepExecuted).attempt == 1
    assert saga.instance.steps["reserve"].output == {"id": 1}
    saga.unavailable("reserve", attempt=2).expect_ignored("COMPLETED")


def test_a_late_success_between_two_attempts_completes_the_step() -> None:
    """A step that waits for its retry is unfinished, so its success counts."""
    saga = Saga(chain("reserve", "charge")).starts().times_out("reserve")

    saga.succeeds("reserve").expect_requests("charge").expect_status(
        "EXECUTING", reserve="COMPLETED"
    )
    assert saga.instance.steps["reserve"].next_attempt_at is None


def test_a_step_that_never_answers_fails_and_is_resolved() -> None:
    """After the last time-out the workflow fails, and asks before it undoes what came before."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").gives_no_answer("charge")

    saga.expect_events(StepFailed, WorkflowFailed, CompensationStarted, StepUnresolved)
    saga.expect_requests("seal charge").expect_status(
        "COMPENSATING", reserve="COMPLETED", charge="FAILED"
    )
    assert saga.the(StepUnresolved).attempts == (1, 2, 3, 4)


def test_an_unknown_outcome_leaves_the_attempt_open() -> None:
    """A reply that cannot promise that nothing happened is no answer."""
    definition = workflow(step("reserve", retry=RetryPolicy(max_retries=0)))

    saga = Saga(definition).starts().fails("reserve", "UNKNOWN")

    assert not saga.the(StepFailed).answered
    saga.expect_requests("seal reserve").expect_status("COMPENSATING")


def test_the_workflow_times_out() -> None:
    """After 300 s the workflow fails as TIMEOUT and what runs is resolved before it ends."""
    saga = Saga(chain("reserve", "charge", each=lambda _: {"timeout_ms": 10**6})).starts()
    saga.succeeds("reserve")
    assert saga.timer(TimerKind.WORKFLOW_TIMEOUT).due_at == T0 + timedelta(seconds=300)

    saga.fires(TimerKind.WORKFLOW_TIMEOUT).expect_requests("seal charge").expect_status(
        "COMPENSATING"
    )

    failed = saga.the(WorkflowFailed)
    assert (failed.error.error_type, failed.error.error_code) == ("TIMEOUT", "WORKFLOW_TIMEOUT")
    assert (failed.step_id, failed.error.message) == ("charge", "not done within 300 s")
    assert saga.instance.has_timed_out(saga.now) is False


def test_a_pause_stops_the_workflows_clock() -> None:
    """The time-out moves by as long as the workflow was paused, and none fires meanwhile."""
    saga = Saga(chain("reserve", each=lambda _: {"timeout_ms": 10**6})).starts()
    before = saga.timer(TimerKind.WORKFLOW_TIMEOUT)

    saga.after(seconds=100).pauses()
    assert TimerKind.WORKFLOW_TIMEOUT not in {t.firing.name for t in timers_of(saga.instance)}
    saga.after(seconds=1000).resumes()

    assert saga.timer(TimerKind.WORKFLOW_TIMEOUT).due_at == before.due_at + timedelta(seconds=1000)
    saga.fires_again(before.firing).expect_ignored("settled before it fired")


def test_a_pause_gives_no_time_out_to_a_workflow_without_one() -> None:
    """`timeoutSeconds` 0 stays none over a pause."""
    saga = Saga(chain("reserve")).starts(timeout_seconds=0).pauses().resumes()

    assert saga.instance.timeout_at is None


def test_a_pause_does_not_stop_a_steps_clock() -> None:
    """The participant works on while the workflow is paused, so its attempt may time out."""
    saga = Saga(chain("reserve")).starts().pauses().times_out("reserve")

    saga.expect_status("PAUSED", reserve="FAILED").expect_no_requests()
    saga.after(minutes=1).resumes().expect_requests("reserve#2")


def test_a_workflow_that_holds_keeps_what_runs() -> None:
    """Held, the workflow asks for no seal: what runs may still answer, what times out is listed."""
    definition = diamond(on_failure=OnFailure.HOLD)
    saga = Saga(definition).starts().succeeds("reserve").fails("pick")

    saga.times_out("charge").expect_events(StepFailed).expect_status("FAILED", charge="FAILED")

    assert not saga.the(StepFailed).will_retry
    assert saga.instance.unresolved == ("charge",)
    assert not timers_of(saga.instance)


def test_the_workflows_time_out_resolves_an_open_pivot_first() -> None:
    """A running pivot may have happened: its service decides between back and forward."""
    saga = Saga(with_pivot()).starts(timeout_seconds=1).succeeds("reserve")

    saga.fires(TimerKind.WORKFLOW_TIMEOUT).expect_events(StepFailed, StepUnresolved)
    saga.expect_requests("seal charge").expect_status("EXECUTING", charge="FAILED")
    assert TimerKind.WORKFLOW_TIMEOUT not in {t.firing.name for t in timers_of(saga.instance)}

    saga.sealed("charge").expect_requests("undo reserve").expect_status("COMPENSATING")
    assert saga.the(WorkflowFailed).error.error_code == "WORKFLOW_TIMEOUT"


def test_the_workflows_time_out_finds_a_pivot_between_two_attempts() -> None:
    """A pivot that waits for its retry without an answer is resolved, not retried."""
    saga = Saga(with_pivot()).starts(timeout_seconds=5).succeeds("reserve").times_out("charge")

    saga.fires(TimerKind.WORKFLOW_TIMEOUT).expect_events(StepUnresolved).expect_requests(
        "seal charge"
    )

    saga.performed("charge").expect_requests("ship").expect_status("EXECUTING", charge="COMPLETED")


def test_past_the_pivot_the_workflow_has_no_time_out() -> None:
    """There is only forward, so there is nothing that a time-out could do."""
    saga = Saga(with_pivot()).starts().succeed("reserve", "charge")

    assert [timer.firing.name for timer in timers_of(saga.instance)] == [TimerKind.STEP_TIMEOUT]

"""An incident is open until its cause is gone; then the workflow says so by itself."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.definition.definition import StepKind
from domain.definition.expression import Template
from domain.definition.retry import RetryPolicy
from domain.workflow.commands import TimerKind
from domain.workflow.events import (
    CompensationCompleted,
    CompensationStarted,
    IncidentRaised,
    IncidentResolved,
    StepCompensated,
    StepCompensationFailed,
    StepExecuted,
    StepFailed,
    StepReplyIgnored,
    StepRetryScheduled,
    StepScheduled,
    StepSealed,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowRetried,
)
from domain.workflow.kind import WORKFLOW
from tests.domain.definitions import Broken, chain, step, with_pivot, workflow
from tests.domain.sagas import Saga


def open_codes(saga: Saga) -> list[tuple[str, str | None]]:
    return [(incident.code, incident.step_id) for incident in saga.instance.incidents]


def undo_failed() -> Saga:
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").fails("charge")
    return saga.undo_fails("reserve")


def unanswered() -> Saga:
    """A service was asked for a seal five times, and does not answer."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").gives_no_answer("charge")
    for _ in range(5):
        saga.fires(TimerKind.SEAL, "charge")
    return saga


def past_pivot() -> Saga:
    return Saga(with_pivot()).starts().succeed("reserve", "charge")


def test_an_open_incident_says_since_when_and_what_to_do() -> None:
    saga = undo_failed()

    (incident,) = saga.instance.incidents
    raised = saga.the(IncidentRaised)
    assert (incident.code, incident.step_id) == ("COMPENSATION_FAILED", "reserve")
    assert (incident.raised_at, incident.detail) == (raised.occurred_at, raised.detail)
    assert saga.history[incident.version - 1] is raised


def test_a_failed_undo_is_open_until_the_step_is_undone() -> None:
    """Trying again is not enough, and failing again adds nothing."""
    saga = undo_failed().compensates().expect_events(CompensationStarted, StepScheduled)
    assert open_codes(saga) == [("COMPENSATION_FAILED", "reserve")]
    saga.undo_fails("reserve").expect_events(StepCompensationFailed, CompensationCompleted)
    since = saga.instance.incidents[0].version

    saga.compensates()
    assert saga.instance.incidents[0].version == since
    saga.undone("reserve").expect_events(StepCompensated, IncidentResolved, CompensationCompleted)

    resolved = saga.the(IncidentResolved)
    assert (resolved.code, resolved.step_id) == ("COMPENSATION_FAILED", "reserve")
    assert resolved.resolution == "the step is COMPENSATED"
    assert not open_codes(saga)


def test_force_takes_what_cannot_be_undone_as_undone() -> None:
    saga = undo_failed().forces().undo_fails("reserve").expect_status("COMPENSATED")

    assert saga.the(StepCompensated).forced
    assert not open_codes(saga)


def test_a_service_that_answers_its_seal_resolves_the_incident() -> None:
    saga = unanswered()
    assert open_codes(saga) == [("SEAL_UNANSWERED", "charge")]

    saga.sealed("charge").expect_events(StepSealed, IncidentResolved, StepScheduled)

    assert saga.the(IncidentResolved).resolution == "its service has answered"
    assert not open_codes(saga)


def test_a_step_that_nobody_waits_for_any_more_is_another_incident() -> None:
    """By force: nobody knows what the service did, so that stands."""
    saga = unanswered().forces()

    assert open_codes(saga) == [("UNRESOLVED", "charge")]
    assert saga.the(IncidentResolved).resolution == "given up by force"
    saga.undone("reserve").expect_status("COMPENSATED")
    assert open_codes(saga) == [("UNRESOLVED", "charge")]


def test_a_retry_past_the_pivot_resolves_the_incident() -> None:
    saga = past_pivot().fails("ship").expect_events(StepFailed, WorkflowFailed, IncidentRaised)
    assert open_codes(saga) == [("PAST_PIVOT", "ship")]

    saga.retries().expect_events(WorkflowRetried, IncidentResolved, StepScheduled)
    assert not open_codes(saga)

    saga.fails("ship")
    assert open_codes(saga) == [("PAST_PIVOT", "ship")]


def test_force_past_the_pivot_resolves_the_incident() -> None:
    """The resolution names the status: the workflow goes back, which it has never done before."""
    saga = past_pivot().fails("ship").forces().expect_status("COMPENSATING")

    assert saga.the(IncidentResolved).resolution == "the workflow is COMPENSATING"
    assert not open_codes(saga)


def test_five_failures_past_the_pivot_are_one_incident() -> None:
    """There is no last retry there, so somebody is told of the first that leads nowhere; the retries go on."""
    saga = past_pivot()
    for _ in range(4):
        saga.unavailable("ship").expect_events(StepFailed, StepRetryScheduled).retry_is_due("ship")

    saga.unavailable("ship").expect_events(StepFailed, StepRetryScheduled, IncidentRaised)
    assert open_codes(saga) == [("STILL_FAILING", "ship")]
    assert "ship-service" in saga.the(IncidentRaised).detail
    for _ in range(20):
        saga.retry_is_due("ship").unavailable("ship").expect_events(StepFailed, StepRetryScheduled)

    saga.retry_is_due("ship").succeeds("ship")
    saga.expect_events(StepExecuted, IncidentResolved, WorkflowCompleted)
    assert not open_codes(saga)


def never_undone() -> Saga:
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").fails("charge")
    saga.fires(TimerKind.UNDO_TIMEOUT, "reserve")
    while saga.instance.steps["reserve"].undo.next_attempt_at is not None:
        saga.fires(TimerKind.UNDO_RETRY, "reserve").fires(TimerKind.UNDO_TIMEOUT, "reserve")
    return saga


def never_shipped() -> Saga:
    saga = past_pivot().times_out("ship")
    for _ in range(20):
        saga.retry_is_due("ship").times_out("ship")
    return saga


@pytest.mark.parametrize(
    ("waiting", "named"),
    [
        (lambda: unanswered().fires(TimerKind.SEAL, "charge"), "charge-service"),
        (never_shipped, "ship-service"),
        (never_undone, "undo of reserve"),
    ],
)
def test_a_service_that_nobody_runs_is_one_incident(
    waiting: Callable[[], Saga], named: str
) -> None:
    """Wherever the workflow waits for it. Repetitions add nothing."""
    saga = waiting()

    [raised] = [event for event in saga.history if isinstance(event, IncidentRaised)]
    assert named in raised.detail
    assert len(saga.instance.incidents) == 1


def test_a_policy_with_more_retries_has_them_before_somebody_must_look() -> None:
    saga = Saga(
        workflow(
            step("charge", kind=StepKind.PIVOT),
            step("ship", "charge", kind=StepKind.RETRIABLE, retry=RetryPolicy(max_retries=7)),
        )
    )
    saga.starts().succeeds("charge")

    for _ in range(7):
        saga.unavailable("ship").expect_events(StepFailed, StepRetryScheduled).retry_is_due("ship")
    saga.unavailable("ship").expect_events(StepFailed, StepRetryScheduled, IncidentRaised)


def test_before_the_pivot_retries_have_an_end_and_no_incident() -> None:
    saga = Saga(chain("reserve")).starts()
    for _ in range(3):
        saga.unavailable("reserve").retry_is_due("reserve")
    saga.unavailable("reserve").expect_status("COMPENSATED")

    assert not saga.all_of(IncidentRaised)


def test_a_step_that_fails_for_good_is_not_still_failing() -> None:
    saga = past_pivot()
    for _ in range(5):
        saga.unavailable("ship").retry_is_due("ship")

    saga.fails("ship")

    assert open_codes(saga) == [("PAST_PIVOT", "ship")]


def test_an_output_is_not_needed_when_the_work_is_undone() -> None:
    saga = Saga(chain("reserve", output=Template(Broken()))).starts().succeeds("reserve")
    assert open_codes(saga) == [("OUTPUT_MAPPING", None)]

    saga.compensates()

    assert not open_codes(saga)


def happens(saga: Saga, code: str = "INTERNAL") -> Saga:
    """The engine met a bug in one message of this workflow."""
    raised = WORKFLOW.incident
    assert raised is not None
    return saga.happened(raised(saga.now, code, "a bug"))


def test_a_bug_did_no_harm_to_a_workflow_that_came_to_its_end() -> None:
    saga = happens(Saga(chain("reserve", "charge")).starts())
    saga.succeeds("reserve")
    assert open_codes(saga) == [("INTERNAL", None)]

    saga.succeeds("charge").expect_events(StepExecuted, WorkflowCompleted, IncidentResolved)

    assert saga.the(IncidentResolved).resolution == "the workflow ended COMPLETED"


def test_a_bug_after_the_end_stands() -> None:
    saga = Saga(chain("reserve")).starts().succeeds("reserve").after(seconds=1)

    happens(saga).succeeds("reserve").expect_events(StepReplyIgnored)

    assert open_codes(saga) == [("INTERNAL", None)]


def test_a_bug_that_comes_again_and_again_is_one_incident() -> None:
    """Each time is in the history; the state does not grow."""
    saga = Saga(chain("reserve")).starts()
    for _ in range(100):
        happens(saga)

    assert open_codes(saga) == [("INTERNAL", None)]


def test_a_broken_promise_is_one_incident_and_stands() -> None:
    """Copies of the reply add nothing."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").fails("charge")
    saga.undone("reserve").succeeds("charge").expect_events(StepReplyIgnored, IncidentRaised)

    saga.succeeds("charge").expect_events(StepReplyIgnored)

    assert open_codes(saga) == [("PERFORMED_AFTER_ALL", "charge")]


def test_incidents_of_two_steps_are_two() -> None:
    saga = Saga(workflow(step("reserve"), step("charge"), step("look", kind=StepKind.READ_ONLY)))
    saga.starts().succeed("reserve", "charge").fails("look")

    saga.undo_fails("reserve").undo_fails("charge")
    assert open_codes(saga) == [
        ("COMPENSATION_FAILED", "reserve"),
        ("COMPENSATION_FAILED", "charge"),
    ]
    saga.compensates().undone("charge")
    assert open_codes(saga) == [("COMPENSATION_FAILED", "reserve")]

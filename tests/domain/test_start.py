"""The start of a workflow, and the same start again."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from domain.aggregate.kind import Moment
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.workflow.commands import PauseWorkflow
from domain.workflow.decide import Duplicate, decide
from domain.workflow.events import (
    StepScheduled,
    WorkflowAccepted,
    WorkflowCompleted,
    WorkflowStarted,
)
from domain.workflow.evolve import evolve
from tests.domain.definitions import Path, chain, step, workflow
from tests.domain.sagas import T0, Saga


def faults_of(order: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
    return () if "orderId" in order else ({"path": "input.orderId", "message": "is required"},)


def test_a_start_asks_for_the_first_step() -> None:
    """A start is one event, and what needs nothing before it is asked for at once."""
    saga = Saga(chain("reserve", "charge")).starts({"orderId": "ORD-1"}, correlation_id="corr-1")

    saga.expect_events(WorkflowStarted, StepScheduled).expect_requests("reserve")
    saga.expect_status("EXECUTING", reserve="EXECUTING", charge="PENDING")
    assert saga.instance.started_at == saga.instance.created_at == T0
    assert saga.instance.current_step_id == "reserve"


def test_a_request_tells_all_that_its_participant_needs() -> None:
    """A request carries key, deadline, attempt, the mapped input and the workflow's context."""
    definition = workflow(step("reserve", timeout_ms=2000))

    saga = Saga(definition).starts(correlation_id="corr-1", tenant="acme", user_id="u-1")

    scheduled = saga.the(StepScheduled)
    request = scheduled.request
    assert scheduled.idempotency_key == "wf-1/reserve/1"
    assert (request.service, request.operation) == ("reserve-service", "do-reserve")
    assert (request.attempt, request.round, (request.deadline - T0).seconds) == (1, 1, 2)
    assert request.context == {
        "correlationId": "corr-1",
        "definition": "order",
        "definitionVersion": 1,
        "tenant": "acme",
        "userId": "u-1",
        "fencingToken": None,
    }


def test_an_input_that_does_not_fit_is_refused_with_every_fault() -> None:
    """The refusal lists the faults by path; no workflow comes to be."""
    saga = Saga(chain("reserve", input_faults=faults_of)).starts({})

    saga.expect_refusal(RejectionCode.INVALID_INPUT, "order-v1: input.orderId: is required")
    assert isinstance(saga.last, Rejection)
    assert saga.last.faults == ({"path": "input.orderId", "message": "is required"},)
    assert not saga.history


def test_the_same_start_again_is_a_duplicate() -> None:
    """Key and payload are known: the answer is that of the first time."""
    saga = Saga(chain("reserve")).starts(idempotency_key="k", payload_hash="h")

    assert saga.starts(idempotency_key="k", payload_hash="h").last == Duplicate()


def test_the_same_idempotency_key_with_another_payload_is_a_conflict() -> None:
    """A key stands for one payload."""
    saga = Saga(chain("reserve")).starts(idempotency_key="k", payload_hash="h")

    saga.starts(idempotency_key="k", payload_hash="other")

    saga.expect_refusal(RejectionCode.IDEMPOTENCY_CONFLICT, "'k' already started wf-1")


def test_another_start_of_an_id_is_refused() -> None:
    """Without the same key it is another start, and the id is taken."""
    saga = Saga(chain("reserve")).starts()

    saga.starts().expect_refusal(RejectionCode.WORKFLOW_EXISTS, "wf-1 exists (EXECUTING)")
    saga.starts(idempotency_key="k").expect_refusal(RejectionCode.WORKFLOW_EXISTS)


def test_a_command_needs_a_workflow() -> None:
    """What has not been started cannot be commanded."""
    refusal = decide(None, PauseWorkflow(), Moment(T0))

    assert isinstance(refusal, Rejection)
    assert refusal.code is RejectionCode.WORKFLOW_NOT_FOUND


def test_a_workflow_without_time_out() -> None:
    """`timeoutSeconds` 0 means none."""
    saga = Saga(chain("reserve")).starts(timeout_seconds=0)

    assert saga.instance.timeout_at is None
    assert not saga.instance.has_timed_out(T0.replace(year=3000))


def test_a_workflow_whose_steps_are_all_skipped_ends_at_once() -> None:
    """One message may carry a workflow from its start to its end."""
    definition = workflow(step("gift-wrap", when=Path("input.gift")))

    saga = Saga(definition).starts({"gift": False})

    saga.expect_status("COMPLETED", **{"gift-wrap": "SKIPPED"})
    assert saga.the(WorkflowCompleted).duration_ms == 0


def test_an_accepted_workflow_waits_and_then_starts() -> None:
    """Accepted is PENDING without a clock; the start makes it EXECUTING and the clock run."""
    saga = Saga(chain("reserve")).starts(release_queue="default")
    facts = saga.instance.facts
    accepted = evolve(None, WorkflowAccepted(occurred_at=T0, facts=facts), "wf-2")
    begun = evolve(accepted, WorkflowStarted(occurred_at=saga.after(hours=1).now, facts=facts))

    assert (accepted.status, accepted.timeout_at, accepted.started_at) == ("PENDING", None, None)
    assert accepted.waveless
    assert accepted.allowed_commands == ("cancel", "signal")
    assert (begun.status, begun.version, begun.started_at) == ("EXECUTING", 2, saga.now)
    assert begun.has_timed_out(saga.after(seconds=300).now)

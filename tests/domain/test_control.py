"""Every command in every status: its effect, or the code of its refusal."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.aggregate.kind import Moment
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import OnCancel, OnFailure
from domain.workflow.commands import (
    CancelWorkflow,
    Command,
    CompensateWorkflow,
    EnableWaveless,
    ExecuteStep,
    ForceCompensateWorkflow,
    PauseWorkflow,
    ResumeWorkflow,
    RetryWorkflow,
    SignalWorkflow,
)
from domain.workflow.decide import Decided, decide
from domain.workflow.events import (
    CompensationStarted,
    StepExecuted,
    StepScheduled,
    WorkflowAccepted,
    WorkflowCancelled,
    WorkflowPaused,
    WorkflowResumed,
    WorkflowRetried,
    WorkflowSignalled,
)
from domain.workflow.evolve import evolve
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import WorkflowStatus
from tests.domain.definitions import chain
from tests.domain.sagas import T0, Saga


def pending() -> WorkflowInstance:
    facts = Saga(chain("reserve", "charge")).starts().instance.facts
    return evolve(None, WorkflowAccepted(occurred_at=T0, facts=facts), "wf-1")


def executing() -> Saga:
    return Saga(chain("reserve", "charge")).starts().succeeds("reserve")


IN_STATUS: dict[WorkflowStatus, Callable[[], WorkflowInstance]] = {
    WorkflowStatus.PENDING: pending,
    WorkflowStatus.EXECUTING: lambda: executing().instance,
    WorkflowStatus.PAUSED: lambda: executing().pauses().instance,
    WorkflowStatus.COMPLETED: lambda: executing().succeeds("charge").instance,
    WorkflowStatus.FAILED: lambda: held().instance,
    WorkflowStatus.COMPENSATING: lambda: executing().fails("charge").instance,
    WorkflowStatus.COMPENSATED: lambda: executing().fails("charge").undone("reserve").instance,
    WorkflowStatus.CANCELLED: lambda: executing().cancels().instance,
}

COMMANDS: dict[str, Command] = {
    "pause": PauseWorkflow(reason="spill"),
    "resume": ResumeWorkflow(reason="clean"),
    "cancel": CancelWorkflow(reason="Cancelled by user"),
    "compensate": CompensateWorkflow(reason="wrong order"),
    "force-compensate": ForceCompensateWorkflow(reason="nobody answers"),
    "retry": RetryWorkflow(reason="again"),
    "signal": SignalWorkflow(name="truck-arrived"),
    "waveless": EnableWaveless(),
    "execute": ExecuteStep(step_id="charge", has_result=True),
}

#: What each command leads to; in every other status it is refused.
LEGAL: dict[str, dict[str, str]] = {
    "pause": {"EXECUTING": "PAUSED"},
    "resume": {"PAUSED": "EXECUTING"},
    "cancel": {"PENDING": "CANCELLED", "EXECUTING": "CANCELLED", "PAUSED": "CANCELLED"},
    "compensate": {"FAILED": "COMPENSATING", "COMPLETED": "COMPENSATING"},
    "force-compensate": {
        "FAILED": "COMPENSATING",
        "COMPLETED": "COMPENSATING",
        "CANCELLED": "COMPENSATING",
        "COMPENSATING": "COMPENSATING",
    },
    "retry": {"FAILED": "EXECUTING"},
    "signal": {"PENDING": "PENDING", "EXECUTING": "EXECUTING", "PAUSED": "PAUSED"},
    "waveless": {"PENDING": "PENDING", "EXECUTING": "EXECUTING"},
    "execute": {"EXECUTING": "COMPLETED"},
}


def held() -> Saga:
    """The workflow failed at charge and waits for an operator."""
    definition = chain("reserve", "charge", on_failure=OnFailure.HOLD)
    return Saga(definition).starts().succeeds("reserve").fails("charge")


@pytest.mark.parametrize("status", WorkflowStatus)
@pytest.mark.parametrize("name", COMMANDS)
def test_command_in_status(name: str, status: WorkflowStatus) -> None:
    """A command has its effect where it is legal; elsewhere its code says why not."""
    instance = IN_STATUS[status]()
    assert instance.status is status

    decision = decide(instance, COMMANDS[name], Moment(T0))

    if status.value in LEGAL[name]:
        assert isinstance(decision, Decided)
        assert decision.state.status == LEGAL[name][status.value]
    else:
        assert isinstance(decision, Rejection)
        code = "NOT_WAVELESS" if name == "waveless" else "ILLEGAL_STATUS"
        assert decision.code == code
        assert status.value in decision.detail


@pytest.mark.parametrize("status", WorkflowStatus)
def test_allowed_commands_tell_the_truth(status: WorkflowStatus) -> None:
    """What is offered is accepted; what is not offered is refused, but for force on a success."""
    instance = IN_STATUS[status]()

    accepted = {
        name
        for name, command in COMMANDS.items()
        if name not in ("waveless", "execute")
        and isinstance(decide(instance, command, Moment(T0)), Decided)
    }

    unoffered = {"force-compensate"} if status is WorkflowStatus.COMPLETED else set[str]()
    assert accepted - unoffered == set(instance.allowed_commands)


# -- pause and resume ----------------------------------------------------------------------------


def test_a_paused_workflow_starts_nothing() -> None:
    """Replies are taken while paused; what they make ready waits for resume."""
    saga = Saga(chain("reserve", "charge")).starts().pauses().expect_events(WorkflowPaused)

    saga.succeeds("reserve").expect_events(StepExecuted).expect_status("PAUSED", charge="PENDING")
    saga.resumes().expect_events(WorkflowResumed, StepScheduled).expect_requests("charge")
    assert saga.the(WorkflowPaused).reason == "spill"


def test_a_completed_last_step_ends_the_workflow_on_resume() -> None:
    """The end, too, waits for resume."""
    saga = Saga(chain("reserve")).starts().pauses().succeeds("reserve").expect_status("PAUSED")

    saga.resumes().expect_status("COMPLETED")


# -- cancel --------------------------------------------------------------------------------------


def test_cancel_of_a_waiting_workflow() -> None:
    """Nothing was asked for, so nothing is to be sealed or undone."""
    decision = decide(pending(), CancelWorkflow(compensate=True), Moment(T0))

    assert isinstance(decision, Decided)
    assert [type(event) for event in decision.events] == [WorkflowCancelled]


def test_cancel_with_nothing_done_is_cancelled() -> None:
    """Every attempt has said that it did nothing, so there is nothing to compensate."""
    definition = chain("reserve", on_cancel=OnCancel.COMPENSATE)
    saga = Saga(definition).starts().unavailable("reserve").cancels()

    saga.expect_events(WorkflowCancelled).expect_status("CANCELLED")
    assert not saga.the(WorkflowCancelled).will_compensate


@pytest.mark.parametrize("on_cancel", OnCancel)
@pytest.mark.parametrize("wanted", [None, True, False])
def test_the_command_overrules_the_definition(on_cancel: OnCancel, wanted: bool | None) -> None:
    """`compensate` in the command decides; without it the definition's `onCancel`."""
    saga = Saga(chain("reserve", "charge", on_cancel=on_cancel)).starts().succeeds("reserve")

    saga.cancels(compensate=wanted)

    expected = on_cancel is OnCancel.COMPENSATE if wanted is None else wanted
    saga.expect_status("COMPENSATING" if expected else "CANCELLED")
    assert saga.the(WorkflowCancelled).will_compensate is expected


# -- retry ---------------------------------------------------------------------------------------


def test_retry_goes_on_at_the_failed_step() -> None:
    """The failed step has its policy's retries again and its attempts go on counting."""
    saga = (
        held().retries().expect_events(WorkflowRetried, StepScheduled).expect_requests("charge#2")
    )

    retried = saga.the(WorkflowRetried)
    assert (retried.retry_count, retried.max_retries, retried.from_step_id) == (1, 3, "charge")
    saga.succeeds("charge").expect_status("COMPLETED")
    assert saga.instance.retry_count == 1


def test_retries_of_a_workflow_are_counted() -> None:
    """With three retries the fourth is refused."""
    saga = held()
    for _ in range(3):
        assert "retry" in saga.instance.allowed_commands
        saga.retries().fails("charge")

    saga.retries().expect_refusal(RejectionCode.RETRIES_EXHAUSTED, "3 times of 3")
    assert saga.instance.allowed_commands == ("compensate", "force-compensate")


def test_retry_after_a_late_success_completes() -> None:
    """The failed step turned out to be done: a retry has nothing left to do."""
    saga = Saga(chain("reserve", on_failure=OnFailure.HOLD)).starts().gives_no_answer("reserve")

    saga.succeeds("reserve").expect_status("FAILED", reserve="COMPLETED")
    saga.retries().expect_status("COMPLETED")
    assert saga.the(WorkflowRetried).from_step_id is None


def test_nothing_is_retried_that_was_compensated() -> None:
    """Once a compensation has begun there is only another compensation."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").fails("charge")
    saga.undo_fails("reserve").expect_status("FAILED")

    saga.retries().expect_refusal(RejectionCode.ILLEGAL_STATUS, "retry needs FAILED")
    assert saga.instance.allowed_commands == ("compensate", "force-compensate")


# -- signal --------------------------------------------------------------------------------------


def test_a_signal_is_kept() -> None:
    """What a signal carries can be read by later steps."""
    saga = executing().send(SignalWorkflow(name="truck", payload={"dock": 4}, actor="alice"))

    saga.expect_events(WorkflowSignalled)
    assert saga.instance.document()["signals"] == {"truck": {"dock": 4}}
    assert saga.the(WorkflowSignalled).actor == "alice"


def test_a_second_compensation_is_started_by_force_only() -> None:
    """While compensating, only force is legal, and it says so in the history."""
    saga = executing().fails("charge").forces()

    assert [event.trigger for event in saga.all_of(CompensationStarted)] == ["FAILURE", "FORCE"]
    assert saga.instance.forced

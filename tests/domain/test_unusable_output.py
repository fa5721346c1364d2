"""A step was performed, and what came of it cannot be kept: never performed again, and undone like any other."""

from __future__ import annotations

from typing import Any

import pytest

from domain.aggregate.rejection import RejectionCode
from domain.definition.definition import OnFailure, StepKind
from domain.definition.expression import Template
from domain.workflow.commands import HandleSealAnswer, HandleStepReply, SignalWorkflow, TimerKind
from domain.workflow.events import (
    CompensationCompleted,
    CompensationStarted,
    IncidentRaised,
    StepCompensated,
    StepCompensationFailed,
    StepExecuted,
    StepFailed,
    StepScheduled,
    StepSealed,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowRetried,
)
from domain.workflow.failure import ErrorType, WorkflowError
from domain.workflow.timers import timers_of
from domain.workflow.weight import WEIGHT_MAX, json_bytes
from tests.domain.definitions import Path, chain, step, undo_of, with_pivot, workflow
from tests.domain.sagas import T0, Saga

UNUSABLE = WorkflowError.create(
    "", "", "INVALID_OUTPUT", "output.n cannot be stored", ErrorType.VALIDATION_ERROR
)


def performs_in_vain(saga: Saga, step_id: str) -> Saga:
    """Its service performed the step and says what nobody can keep."""
    execution = saga.instance.steps[step_id]
    return saga.send(
        HandleStepReply(
            step_id=step_id,
            attempt=execution.attempt,
            round=execution.round,
            performed=True,
            error=UNUSABLE,
        )
    )


def text(size: int) -> dict[str, str]:
    return {"text": "x" * size}


def test_before_the_pivot_everything_is_undone_the_step_itself_first() -> None:
    """Its effect is there, so its own undo is asked for, without an output."""
    saga = Saga(chain("reserve", "charge", "pick")).starts().succeeds("reserve", {"id": 1})

    performs_in_vain(saga, "charge")

    saga.expect_events(StepFailed, WorkflowFailed, CompensationStarted, StepScheduled)
    assert saga.the(StepFailed).performed
    assert saga.the(CompensationStarted).steps == ("charge", "reserve")
    saga.expect_requests("undo charge")
    assert saga.the(StepScheduled).request.step_output is None
    saga.undone("charge").expect_requests("undo reserve").undone("reserve").expect_status(
        "COMPENSATED"
    )
    assert saga.instance.executed_steps == ("reserve", "charge")


def test_the_answer_to_a_seal_may_be_unusable_as_well() -> None:
    """The seal is answered: nobody asks again, and what was done is undone."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").gives_no_answer("charge")

    saga.send(HandleSealAnswer(step_id="charge", round=1, performed=True, error=UNUSABLE))

    saga.expect_events(StepSealed, StepScheduled).expect_requests("undo charge")
    assert not saga.instance.unresolved
    assert TimerKind.SEAL not in {timer.firing.name for timer in timers_of(saga.instance)}


@pytest.mark.parametrize("sealed", [False, True])
def test_a_pivot_that_was_performed_is_passed(sealed: bool) -> None:
    """There is no way back, so somebody has to give the output or let it go on."""
    saga = Saga(with_pivot()).starts(timeout_seconds=20).succeeds("reserve")
    if sealed:
        saga.times_out("charge").fires(TimerKind.WORKFLOW_TIMEOUT)
        saga.send(HandleSealAnswer(step_id="charge", round=1, performed=True, error=UNUSABLE))
    else:
        performs_in_vain(saga, "charge")

    saga.expect_status("FAILED", reserve="COMPLETED", charge="FAILED")
    assert saga.instance.is_past_pivot
    assert saga.the(IncidentRaised).code == "PAST_PIVOT"
    # Asked again under the same key: its service answers from its record and does nothing twice.
    saga.retries().expect_requests("charge#2").succeeds("charge", {"id": 7})
    saga.expect_requests("ship").succeeds("ship").expect_status("COMPLETED")


def test_past_the_pivot_a_step_is_not_repeated_and_can_be_completed() -> None:
    """A mail that was sent is not sent again; an operator gives the output that was missing."""
    saga = Saga(with_pivot()).starts().succeed("reserve", "charge")

    performs_in_vain(saga, "ship")

    saga.expect_status("FAILED", ship="FAILED")
    assert saga.the(IncidentRaised).step_id == "ship"
    assert not timers_of(saga.instance)
    saga.executes("ship", has_result=True, output={"parcel": 3})
    saga.expect_status("COMPLETED", ship="COMPLETED")
    assert saga.instance.steps["ship"].output == {"parcel": 3}
    assert saga.all_of(WorkflowRetried)
    assert len([e for e in saga.all_of(StepScheduled) if e.step_id == "ship"]) == 1


def test_only_what_was_performed_is_completed_in_a_failed_workflow() -> None:
    """Any other outcome is recorded where the workflow executes."""
    saga = Saga(chain("reserve", on_failure=OnFailure.HOLD)).starts().fails("reserve")

    saga.executes("reserve", has_result=True, output={}).expect_refusal(
        RejectionCode.ILLEGAL_STATUS
    )


def mapped(*names: str, path: str = "steps.{}.output", verify: bool = False) -> Any:
    """A chain whose undos are made from what the mapping says of their step."""

    def facts(name: str) -> dict[str, Any]:
        template = Template({"all": Path(path.format(name))})
        return {"compensation": undo_of(name, template=template, verify=verify)}

    return chain(*names, each=facts)


def test_an_undo_leaves_out_the_output_that_its_mapping_has_where_it_must() -> None:
    """Twice 600 KB is more than a message holds, once is not."""
    for size, beside in ((1000, True), (600_000, False)):
        saga = Saga(mapped("reserve", "charge")).starts().succeeds("reserve", text(size))

        saga.fails("charge").expect_requests("undo reserve")

        request = saga.the(StepScheduled).request
        assert request.input == {"all": text(size)}
        assert request.step_output == (text(size) if beside else None)
        saga.undone("reserve").expect_status("COMPENSATED")


def test_an_output_is_refused_whose_undo_could_not_be_sent() -> None:
    """It is measured when it comes: the step fails then, and is undone without it."""
    twice = Template(
        {"a": Path("steps.reserve.output.text"), "b": Path("steps.reserve.output.text")}
    )
    definition = workflow(step("reserve", compensation=undo_of("reserve", template=twice)))

    saga = Saga(definition).starts().succeeds("reserve", text(400_000))

    assert saga.the(StepFailed).error_code == "TOO_LARGE"
    saga.expect_requests("undo reserve").undone("reserve").expect_status("COMPENSATED")


def test_the_output_of_a_sealed_step_is_measured_as_well() -> None:
    """As large as it may be it is the answer, and the undo goes without it."""
    saga = Saga(mapped("reserve", path="steps.{}.output.text")).starts().gives_no_answer("reserve")

    saga.performed("reserve", text(600_000)).expect_events(StepSealed, StepScheduled)

    error = saga.the(StepSealed).error
    assert error is not None
    assert (error.error_code, error.service_name) == ("TOO_LARGE", "reserve-service")
    assert saga.the(StepScheduled).request.input == {"all": None}


def test_a_step_is_not_begun_whose_undo_could_not_be_sent() -> None:
    """What its undo maps is there before it: with it the step could only be stranded."""
    both = Template({"a": Path("steps.reserve.output"), "b": Path("steps.charge.output")})
    definition = workflow(
        step("reserve"),
        step("charge", "reserve"),
        step("pick", "charge", compensation=undo_of("pick", template=both)),
    )

    saga = Saga(definition).starts().succeeds("reserve", text(600_000))
    saga.succeeds("charge", text(600_000))

    error = saga.the(WorkflowFailed).error
    assert (error.step_id, error.error_code) == ("pick", "TOO_LARGE")
    saga.expect_requests("undo charge")


def test_an_input_that_no_message_holds_fails_its_step_and_not_the_one_before() -> None:
    """The answer that it is made from is taken."""
    twice = Template({"a": Path("steps.reserve.output"), "b": Path("steps.reserve.output")})
    saga = Saga(workflow(step("reserve"), step("charge", "reserve", input=twice))).starts()

    saga.succeeds("reserve", text(600_000))

    error = saga.the(WorkflowFailed).error
    assert (error.step_id, error.error_code) == ("charge", "TOO_LARGE")
    saga.expect_requests("undo reserve").undone("reserve").expect_status("COMPENSATED")


def test_a_start_whose_first_step_no_message_holds_is_refused() -> None:
    """Before anything is accepted it is the caller who has to know."""
    twice = Template({"a": Path("input.text"), "b": Path("input.text")})
    saga = Saga(workflow(step("reserve", input=twice)))

    saga.starts(text(600_000)).expect_refusal(RejectionCode.TOO_LARGE, "the input of reserve")


def test_an_output_of_the_workflow_that_no_message_holds_is_an_incident() -> None:
    """The work is done and stays; only its summary is missing."""
    twice = Template({"a": Path("steps.reserve.output"), "b": Path("steps.reserve.output")})
    saga = Saga(workflow(step("reserve", kind=StepKind.PIVOT), output=twice)).starts()

    saga.succeeds("reserve", text(600_000)).expect_status("COMPLETED")

    assert saga.the(WorkflowCompleted).output is None
    assert saga.the(IncidentRaised).code == "OUTPUT_MAPPING"


def test_a_signal_is_refused_with_which_an_undo_could_not_be_sent() -> None:
    """Signals come at any time, also when the step that reads them is done."""
    template = Template({"note": Path("signals.note"), "text": Path("steps.reserve.output.text")})
    definition = workflow(
        step("reserve", compensation=undo_of("reserve", template=template)),
        step("charge", "reserve"),
    )
    saga = Saga(definition).starts().succeeds("reserve", text(300_000))

    saga.send(SignalWorkflow(name="note", payload=text(500_000)))
    saga.expect_refusal(RejectionCode.TOO_LARGE, "the undo of reserve")
    saga.send(SignalWorkflow(name="note", payload=text(200_000)))
    saga.fails("charge").expect_requests("undo reserve")


def test_an_operator_is_told_that_an_output_is_too_large() -> None:
    """Nobody performed anything: the output is refused, and the step stays as it is."""
    saga = Saga(mapped("reserve", path="steps.{}.output.text")).starts()

    saga.executes("reserve", has_result=True, output=text(600_000))

    saga.expect_refusal(RejectionCode.TOO_LARGE, "the undo of reserve").expect_status("EXECUTING")


def stored_by_an_older_version() -> Saga:
    """Its undo can never be sent, which older versions did not look at."""
    twice = Template(
        {"a": Path("steps.reserve.output.text"), "b": Path("steps.reserve.output.text")}
    )
    definition = workflow(
        step("reserve", compensation=undo_of("reserve", template=twice, verify=True)),
        step("charge", "reserve"),
    )
    executed = StepExecuted(
        occurred_at=T0,
        step_id="reserve",
        service_name="reserve-service",
        operation="do-reserve",
        attempt=1,
        round=1,
        output=text(600_000),
        execution_time_ms=1,
    )
    saga = Saga(definition).starts().happened(executed)
    return saga.executes("charge")


def test_an_undo_that_cannot_be_sent_has_failed() -> None:
    """The saga ends and says so, and an operator's word ends it for good."""
    saga = stored_by_an_older_version().fails("charge")

    assert saga.the(StepCompensationFailed).error_code == "TOO_LARGE"
    assert not saga.the(CompensationCompleted).success
    assert saga.the(IncidentRaised).code == "COMPENSATION_FAILED"
    saga.expect_status("FAILED", reserve="COMPENSATING")
    saga.forces().expect_status("COMPENSATED", reserve="COMPENSATED")
    assert saga.the(StepCompensated).forced


def test_force_does_not_wait_for_the_retry_of_an_undo() -> None:
    """The undo is tried once more, now; however that ends, the saga does."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve").fails("charge")
    saga.undo_fails("reserve", "SERVICE_UNAVAILABLE").expect_no_requests()

    saga.forces().expect_requests("undo reserve#2").undo_fails("reserve", "SERVICE_UNAVAILABLE")

    saga.expect_status("COMPENSATED")


def test_a_reason_is_not_what_makes_an_undo_too_large() -> None:
    """A participant's long story goes along shortened."""
    saga = Saga(chain("reserve", "charge")).starts().succeeds("reserve", text(900_000))

    saga.fails("charge").expect_requests("undo reserve")
    long = Saga(chain("reserve", "charge")).starts().succeeds("reserve", text(900_000))
    long.cancels(compensate=False).forces()
    request = long.the(StepScheduled).request
    assert json_bytes(request.step_output) < WEIGHT_MAX

"""Repairs by an operator: retry now, skip, complete by hand, patch."""

from __future__ import annotations

from typing import Any

import pytest

from domain.aggregate.kind import Decided, Moment
from domain.aggregate.rejection import Rejection
from domain.definition.definition import OnFailure, StepKind
from domain.definition.expression import Template
from domain.workflow.commands import (
    Command,
    CompleteStep,
    PatchWorkflow,
    PauseWorkflow,
    ResetWorkflow,
    RetryStepNow,
    SkipStep,
    TimerKind,
)
from domain.workflow.decide import decide
from domain.workflow.events import (
    StepExecuted,
    StepRetryScheduled,
    StepScheduled,
    StepSkipped,
    StepUnresolved,
    WorkflowPatched,
    WorkflowRetried,
)
from domain.workflow.failure import WorkflowError
from domain.workflow.status import WorkflowStatus
from tests.domain.definitions import Path, chain, step, undo_of, with_pivot, workflow
from tests.domain.sagas import T0, Saga
from tests.domain.test_control import IN_STATUS, held

WHY = "the printer is back"


def retry_now(step_id: str) -> RetryStepNow:
    return RetryStepNow(step_id=step_id, reason=WHY, actor="alice")


def skip(step_id: str) -> SkipStep:
    return SkipStep(step_id=step_id, reason=WHY, actor="alice")


def complete(step_id: str, output: Any = None) -> CompleteStep:
    return CompleteStep(step_id=step_id, reason=WHY, output=output, actor="alice")


def patch(**input: Any) -> PatchWorkflow:
    return PatchWorkflow(input=input, reason=WHY, actor="alice")


# -- every status --------------------------------------------------------------------------------

REPAIRS: dict[str, tuple[Command, set[str]]] = {
    # In the samples, `charge` is the step that runs, or failed.
    "skip": (skip("charge"), {"FAILED"}),
    "complete": (complete("charge"), {"EXECUTING", "PAUSED", "FAILED"}),
    "patch": (patch(n=1), {"PENDING", "EXECUTING", "PAUSED", "FAILED"}),
    "retry-now": (retry_now("charge"), {"CANCELLED"}),
    "reset": (ResetWorkflow(to_step="charge", reason=WHY), {"PAUSED", "FAILED"}),
}


@pytest.mark.parametrize("status", WorkflowStatus)
@pytest.mark.parametrize("name", REPAIRS)
def test_repair_in_status(name: str, status: WorkflowStatus) -> None:
    """A repair has its effect where it is legal; elsewhere the refusal names the status."""
    command, legal = REPAIRS[name]
    decision = decide(IN_STATUS[status](), command, Moment(T0))

    assert isinstance(decision, Decided) == (status.value in legal)
    if isinstance(decision, Rejection):
        assert decision.code == "ILLEGAL_STATUS"
        assert "needs" in decision.detail or "waits for no retry" in decision.detail


@pytest.mark.parametrize("command", [retry_now("fly"), skip("fly"), complete("fly")])
def test_an_unknown_step(command: Command) -> None:
    """The refusal names the steps that there are."""
    saga = Saga(chain("reserve", "charge")).starts().send(command)
    assert isinstance(saga.last, Rejection)
    assert saga.last.code == "INVALID_INPUT"
    assert "it has reserve, charge" in saga.last.detail


def test_an_expected_version() -> None:
    """A command for another version than the current one changes nothing, and says which it is."""
    saga = Saga(chain("reserve", "charge")).starts()
    saga.send(PauseWorkflow(expected_version=1))
    assert isinstance(saga.last, Rejection)
    assert saga.last.code == "STALE"
    assert "has version 2, not 1" in saga.last.detail

    saga.send(PauseWorkflow(expected_version=2)).expect_status("PAUSED")


# -- retry now -----------------------------------------------------------------------------------


def test_a_retry_comes_at_once() -> None:
    """With the reason and the name of who wanted it; its timer finds it settled."""
    saga = Saga(chain("reserve")).starts().unavailable("reserve")
    firing = saga.timer(TimerKind.STEP_RETRY, "reserve").firing
    saga.send(retry_now("reserve")).expect_requests("reserve#2")
    sent = saga.the(StepScheduled)
    assert (sent.actor, sent.reason) == ("alice", WHY)
    saga.fires_again(firing).expect_ignored("settled before it fired")


def test_a_retry_of_an_undo_comes_at_once() -> None:
    """Also that of its verification."""
    definition = chain(
        "reserve", "charge", each=lambda name: {"compensation": undo_of(name, verify=True)}
    )
    saga = Saga(definition).starts().succeeds("reserve").fails("charge")
    saga.undo_fails("reserve", "SERVICE_UNAVAILABLE")
    saga.send(retry_now("reserve")).expect_requests("undo reserve#2")
    away = WorkflowError.create("reserve", "reserve-service", "AWAY", "no", "SERVICE_UNAVAILABLE")
    saga.undone("reserve").verified("reserve", error=away).expect_no_requests()
    saga.send(retry_now("reserve")).expect_requests("verify reserve#4")


def test_a_seal_is_asked_for_at_once() -> None:
    """Without waiting for the next of the questions, which become rare."""
    saga = Saga(chain("reserve", "charge")).starts().cancels().expect_requests("seal reserve")
    saga.send(retry_now("reserve")).expect_requests("seal reserve#2")
    assert saga.the(StepUnresolved).actor == "alice"


def test_a_paused_workflow_retries_nothing() -> None:
    """It is resumed first."""
    saga = Saga(chain("reserve")).starts().unavailable("reserve").pauses()
    saga.send(retry_now("reserve"))
    assert isinstance(saga.last, Rejection)
    assert "resume" in saga.last.detail


# -- skip ----------------------------------------------------------------------------------------


def test_a_step_that_waits_for_its_retry_is_skipped() -> None:
    """What comes after it begins, and it is not undone."""
    saga = Saga(chain("reserve", "wrap", "charge")).starts().succeeds("reserve").unavailable("wrap")
    saga.send(skip("wrap")).expect_events(StepSkipped, StepScheduled).expect_requests("charge")
    assert (saga.the(StepSkipped).reason, saga.the(StepSkipped).actor) == (WHY, "alice")
    saga.fails("charge").expect_requests("undo reserve")


def test_a_step_is_skipped_ahead_of_its_turn() -> None:
    """It passes its place on: what follows it still waits for what it waited for."""
    saga = Saga(chain("reserve", "wrap", "charge")).starts()
    saga.send(skip("wrap")).expect_no_requests()
    saga.succeeds("reserve").expect_requests("charge")
    saga.succeeds("charge").expect_status("COMPLETED", wrap="SKIPPED")


def test_a_failed_workflow_goes_on() -> None:
    """It is no retry of the same thing, so none of its retries is used up."""
    saga = held().send(skip("charge"))
    saga.expect_status("COMPLETED", reserve="COMPLETED", charge="SKIPPED")
    assert saga.the(WorkflowRetried).retry_count == 0


@pytest.mark.parametrize(
    ("saga", "step_id", "says"),
    [
        (Saga(chain("reserve")).starts(), "reserve", "EXECUTING"),
        (Saga(chain("reserve")).starts().succeeds("reserve"), "reserve", "COMPLETED"),
        (Saga(with_pivot()).starts(), "charge", "pivot"),
        (
            Saga(chain("reserve")).starts().times_out("reserve"),
            "reserve",
            "may have been performed",
        ),
    ],
)
def test_what_is_not_skipped(saga: Saga, step_id: str, says: str) -> None:
    """What was performed or may have been, and the pivot."""
    saga.send(skip(step_id))
    assert isinstance(saga.last, Rejection)
    assert saga.last.code == "ILLEGAL_STATUS"
    assert says in saga.last.detail


def reading(path: str) -> Template:
    return Template({"read": Path(path)})


@pytest.mark.parametrize("path", ["steps.wrap.output.ribbon", "steps.wrap", "steps.wrap.output"])
@pytest.mark.parametrize("reader", ["input", "when", "undo", "output"])
def test_an_output_that_is_needed(reader: str, path: str) -> None:
    """Inputs, conditions, undos and the workflow's output may read it: then the step is completed by hand."""
    facts: dict[str, Any] = {
        "input": {"input": reading(path)},
        "when": {"when": Path(path)},
        "undo": {"compensation": undo_of("charge", template=reading(path))},
        "output": {},
    }[reader]
    output = reading(path) if reader == "output" else None
    definition = workflow(step("wrap"), step("charge", "wrap", **facts), output=output)
    saga = Saga(definition).starts().unavailable("wrap").send(skip("wrap"))

    assert isinstance(saga.last, Rejection)
    assert saga.last.code == "DEPENDENCY_NOT_MET"
    assert "complete the step" in saga.last.detail


def test_a_status_that_is_read() -> None:
    """That a step was skipped is something that later steps may ask for."""
    definition = workflow(step("wrap"), step("charge", "wrap", input=reading("steps.wrap.status")))
    saga = Saga(definition).starts().unavailable("wrap").send(skip("wrap"))
    assert saga.the(StepScheduled).request.input == {"read": "SKIPPED"}


# -- complete ------------------------------------------------------------------------------------


def test_a_step_is_completed_by_hand() -> None:
    """Also in a paused workflow; its output counts like a participant's."""
    definition = workflow(
        step("wrap"), step("charge", "wrap", input=reading("steps.wrap.output.n"))
    )
    saga = Saga(definition).starts().pauses().send(complete("wrap", {"n": 7}))
    executed = saga.expect_events(StepExecuted).the(StepExecuted)
    assert (executed.actor, executed.reason) == ("alice", WHY)
    saga.resumes()
    assert saga.the(StepScheduled).request.input == {"read": 7}


def test_a_failed_workflow_goes_on_with_what_was_done_by_hand() -> None:
    """And may be undone later."""
    saga = held().send(complete("charge", {"paymentId": "p"})).expect_status("COMPLETED")
    saga.compensates().expect_requests("undo charge")


def test_a_step_that_has_not_begun_is_not_completed() -> None:
    """It is skipped."""
    saga = Saga(chain("reserve", "charge")).starts().send(complete("charge"))
    assert isinstance(saga.last, Rejection)
    assert "skipped" in saga.last.detail


# -- reset ---------------------------------------------------------------------------------------


def back_to(step_id: str) -> ResetWorkflow:
    return ResetWorkflow(to_step=step_id, reason=WHY, actor="alice")


def test_what_depends_on_a_step_is_undone_and_done_again() -> None:
    """Last first, then forward, in a new round; what came before it stays done."""
    saga = Saga(chain("reserve", "wrap", "charge", "ship")).starts()
    saga.succeed("reserve", "wrap", "charge").pauses()
    saga.send(back_to("wrap")).expect_status("COMPENSATING").expect_requests("seal ship")
    saga.sealed("ship").expect_requests("undo charge")
    saga.undone("charge").expect_requests("undo wrap")
    saga.undone("wrap").expect_status("EXECUTING", reserve="COMPLETED", charge="PENDING")
    saga.expect_requests("wrap@2")
    assert saga.instance.executed_steps == ("reserve",)
    assert saga.the(WorkflowRetried).retry_count == 0

    saga.succeeds("wrap").expect_requests("charge@2").succeeds("charge").expect_requests("ship@2")
    saga.fails("ship").expect_requests("undo charge@2").undone("charge").undone("wrap")
    saga.undone("reserve").expect_status("COMPENSATED")
    assert saga.instance.compensated_steps == ("charge", "wrap", "reserve")


def test_a_failed_workflow_is_reset() -> None:
    """To the step that failed, or to one before it."""
    saga = held().send(back_to("charge")).expect_status("EXECUTING").expect_requests("charge@2")
    saga.fails("charge").expect_status("FAILED")
    saga.send(back_to("reserve")).expect_requests("undo reserve")
    saga.undone("reserve").expect_requests("reserve@2")


def test_late_answers_of_the_old_round_do_not_count() -> None:
    """Neither while the step waits for its turn, nor when it runs again."""
    saga = Saga(chain("reserve", "wrap", "charge")).starts().succeed("reserve", "wrap").pauses()
    saga.send(back_to("reserve")).sealed("charge").undone("wrap").undone("reserve")
    saga.succeeds("wrap", attempt=1, round=1).expect_ignored("PENDING")
    saga.succeeds("reserve", attempt=1, round=1).expect_ignored("round 2")


def test_an_undo_that_fails_ends_the_reset() -> None:
    """Then the whole workflow is compensated, or forced."""
    saga = Saga(chain("reserve", "wrap", "charge")).starts().succeed("reserve", "wrap").pauses()
    saga.send(back_to("wrap")).sealed("charge").undo_fails("wrap").expect_status("FAILED")
    assert saga.instance.allowed_commands == ("compensate", "force-compensate")
    saga.compensates().expect_requests("undo wrap#2").undone("wrap").undone("reserve")
    saga.expect_status("COMPENSATED")


@pytest.mark.parametrize(
    ("saga", "step_id", "code", "says"),
    [
        (Saga(chain("a", "b")).starts().pauses(), "b", "ILLEGAL_STATUS", "b has not begun"),
        (
            Saga(with_pivot()).starts().succeed("reserve", "charge").pauses(),
            "reserve",
            "PAST_PIVOT",
            "charge",
        ),
        (
            Saga(workflow(step("a"), step("b"))).starts().pauses(),
            "a",
            "ILLEGAL_STATUS",
            "b is under way",
        ),
        (Saga(chain("a", "b")).starts().pauses(), "fly", "INVALID_INPUT", "it has a, b"),
    ],
)
def test_what_is_not_reset(saga: Saga, step_id: str, code: str, says: str) -> None:
    """What has not begun, cannot be undone, or would leave something running beside it."""
    saga.send(back_to(step_id))
    assert isinstance(saga.last, Rejection)
    assert saga.last.code == code
    assert says in saga.last.detail


# -- patch ---------------------------------------------------------------------------------------

PATCHED = workflow(
    step("reserve", input=reading("input.n")), step("charge", "reserve", input=reading("input.n"))
)


def test_a_patch_is_read_by_what_comes() -> None:
    """The event has the value before and after; null removes a field."""
    saga = Saga(PATCHED).starts({"n": 1, "old": True}).send(patch(n=2, old=None, new="x"))
    assert [(e.path, e.before, e.after) for e in saga.all_of(WorkflowPatched)] == [
        ("input.n", 1, 2),
        ("input.old", True, None),
        ("input.new", None, "x"),
    ]
    assert saga.instance.facts.input == {"n": 2, "new": "x"}
    saga.succeeds("reserve")
    assert saga.the(StepScheduled).request.input == {"read": 2}


def test_the_metadata_is_patched() -> None:
    """As the `context` of the command."""
    saga = Saga(PATCHED).starts({}, metadata={"dock": 1})
    saga.send(PatchWorkflow(context={"dock": 4}, reason=WHY))
    assert saga.the(WorkflowPatched).path == "context.dock"
    assert saga.instance.facts.metadata == {"dock": 4}


def test_a_failing_step_gets_a_new_round() -> None:
    """The attempts of one round share their input, and the participant refuses another one under the same key."""
    saga = Saga(PATCHED).starts({"n": 1}).unavailable("reserve").send(patch(n=2))
    saga.send(retry_now("reserve")).expect_requests("reserve@2")
    assert saga.the(StepScheduled).request.input == {"read": 2}


def test_an_open_attempt_keeps_its_input() -> None:
    """Until every attempt of the round is answered, a repetition has to be one."""
    saga = Saga(PATCHED).starts({"n": 1}).send(patch(n=2)).times_out("reserve")
    saga.retry_is_due("reserve").expect_requests("reserve#2")
    assert saga.the(StepScheduled).request.input == {"read": 1}
    # The first attempt stays open, whatever the second one says.
    saga.unavailable("reserve").retry_is_due("reserve").expect_requests("reserve#3")
    saga.succeeds("reserve").expect_requests("charge")
    assert saga.the(StepScheduled).request.input == {"read": 2}


def test_an_undo_reads_what_its_step_read() -> None:
    """A patch that would change that is refused."""
    definition = chain(
        "reserve",
        "charge",
        each=lambda name: {"compensation": undo_of(name, template=reading("input.n"))},
    )
    saga = Saga(definition).starts({"n": 1}).send(patch(n=2))
    assert isinstance(saga.last, Rejection)
    assert saga.last.code == "DEPENDENCY_NOT_MET"
    assert "reserve may be done" in saga.last.detail
    assert saga.instance.facts.input == {"n": 1}


def test_a_patch_that_changes_nothing() -> None:
    """It is a mistake, not a success."""
    saga = Saga(PATCHED).starts({"n": 1}).send(patch(n=1, absent=None))
    assert isinstance(saga.last, Rejection)
    assert saga.last.code == "INVALID_INPUT"


@pytest.mark.parametrize(("before", "after"), [(1, True), (0, False), (1, 1.0), ([1], [True])])
def test_what_only_python_takes_for_the_same(before: Any, after: Any) -> None:
    """In JSON these differ, and so do their readers' results."""
    saga = Saga(PATCHED).starts({"n": before}).send(patch(n=after))
    patched = saga.the(WorkflowPatched)
    assert (repr(patched.before), repr(patched.after)) == (repr(before), repr(after))


def test_a_patched_input_fits_the_schema() -> None:
    """Its faults are those that a start would have."""

    def faults(input: Any) -> tuple[dict[str, str], ...]:
        return (
            () if isinstance(input.get("n"), int) else ({"path": "n", "message": "is no number"},)
        )

    definition = workflow(step("reserve"), input_faults=faults)
    saga = Saga(definition).starts({"n": 1}).send(patch(n="many"))
    assert isinstance(saga.last, Rejection)
    assert saga.last.faults == ({"path": "n", "message": "is no number"},)


def test_a_patch_that_is_too_large() -> None:
    """The event has to fit into a message, with what was there before."""
    saga = Saga(PATCHED).starts({"n": "x" * 500_000}).send(patch(n="y" * 500_000))
    assert isinstance(saga.last, Rejection)
    assert saga.last.code == "TOO_LARGE"


def test_a_mapping_that_failed_is_repaired() -> None:
    """A workflow that held because its input was wrong goes on after a patch."""
    definition = workflow(step("reserve", input=reading("input.n")), on_failure=OnFailure.HOLD)
    saga = Saga(definition).starts({"n": 1}).fails("reserve").expect_status("FAILED")
    saga.send(patch(n=2)).expect_status("FAILED").retries().expect_requests("reserve@2")
    assert saga.the(StepScheduled).request.input == {"read": 2}


def test_behind_the_pivot_a_step_is_skipped_by_a_person() -> None:
    """Without an undo there is nothing to fear from it."""
    definition = with_pivot()
    saga = Saga(definition).starts().succeed("reserve", "charge").unavailable("ship")
    assert definition.step("ship").kind is StepKind.RETRIABLE
    assert saga.the(StepRetryScheduled).step_id == "ship"
    saga.send(skip("ship")).expect_status("COMPLETED", ship="SKIPPED")

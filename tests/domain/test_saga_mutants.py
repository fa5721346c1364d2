"""Rules of the saga, each switched off once: what is checked of every course finds it."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime
from random import Random
from types import SimpleNamespace
from typing import Any

import pytest

from domain.definition import retry
from domain.definition.definition import StepDefinition, StepKind, WorkflowDefinition
from domain.definition.retry import RetryPolicy
from domain.values import changed
from domain.workflow import forward, repair, replies, sealing
from domain.workflow.events import StepCompensationFailed, StepScheduled, StepUnresolved
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import IllegalTransition, StepStatus
from domain.workflow.step import StepExecution
from domain.workflow.timers import timers_of
from tests.domain.definitions import step, with_pivot, workflow
from tests.domain.sagas import Saga
from tests.domain.test_properties import check as check_course
from tests.domain.test_properties import run as run_course
from tests.domain.test_weight import Course

#: As fast as a policy can be.
FAST = RetryPolicy(max_retries=0, initial_delay_ms=1, max_delay_ms=1)
HOUR_MS = 3_600_000
#: Three events a second would be a loop without a pause; a minute's pause is reached soon.
EVENTS_MAX = 3 * 3600 + 100


def nothing_is_too_large() -> None:
    """Whatever was accepted can be sent and undone."""
    for seed in range(100):
        course = Course(Random(seed))
        if course.saga.history:
            course.run()
            failures = course.saga.all_of(StepCompensationFailed)
            assert "TOO_LARGE" not in {failure.error_code for failure in failures}


def hour_of(definition: WorkflowDefinition) -> Saga:
    """What a workflow writes in an hour in which no participant says anything."""
    saga = Saga(definition).starts(timeout_seconds=0)
    begun = saga.now
    while (saga.now - begun).total_seconds() * 1000 < HOUR_MS:
        timers = timers_of(saga.instance)
        if not timers:
            break
        timer = min(timers, key=lambda each: each.due_at)
        saga.now = max(saga.now, timer.due_at)
        saga.send(timer.firing)
        assert len(saga.history) <= EVENTS_MAX
    return saga


def an_absent_service_is_asked_with_pauses() -> None:
    """Seals become rare, and raise one incident."""
    saga = hour_of(workflow(step("reserve", retry=FAST, timeout_ms=1)))
    assert len(saga.history) < 100


def what_is_repeated_for_ever_is_repeated_with_pauses() -> None:
    """Past the pivot there is no last attempt."""
    definition = with_pivot()
    ship = step("ship", "charge", kind=StepKind.RETRIABLE, retry=FAST, timeout_ms=1)
    looping = workflow(*definition.steps[:-1], ship)
    saga = Saga(looping).starts(timeout_seconds=0).succeed("reserve", "charge")
    for _ in range(200):
        timer = timers_of(saga.instance)[-1]
        before = saga.now
        saga.now = max(saga.now, timer.due_at)
        saga.send(timer.firing)
        if saga.instance.steps["ship"].retry_count > 4 and timer.firing.name == "step-retry":
            assert (saga.now - before).total_seconds() >= 0.9


def a_read_only_step_is_never_asked_about() -> None:
    """It changes nothing."""
    saga = Saga(workflow(step("look", kind=StepKind.READ_ONLY), step("reserve"))).starts()
    saga.fails("reserve")
    assert "look" not in {event.step_id for event in saga.all_of(StepUnresolved)}


def repairs_keep_every_saga_right() -> None:
    """Whatever operators skip, patch and hurry, the saga ends as it says."""
    for seed in range(1500):
        check_course(run_course(Random(seed)))


CHECKS: tuple[Callable[[], None], ...] = (
    nothing_is_too_large,
    an_absent_service_is_asked_with_pauses,
    what_is_repeated_for_ever_is_repeated_with_pauses,
    a_read_only_step_is_never_asked_about,
    repairs_keep_every_saga_right,
)


def _nothing(*_: Any) -> None:
    return None


def _direct_dependencies_hold(instance: WorkflowInstance, step: StepDefinition) -> bool:
    return all(instance.steps[each].status.is_satisfied for each in step.depends_on)


def _rendered_anew(
    instance: WorkflowInstance, step: StepDefinition, now: datetime, **facts: Any
) -> StepScheduled:
    facts["input"] = facts.get("input") or step.input.render(instance.document())
    return _schedule_step(instance, step, now, **facts)


_schedule_step = forward.schedule_step
_begin_again = StepExecution.begin_again


#: Name -> what is replaced where by what, and the check that finds it.
MUTANTS: dict[str, tuple[Any, str, Any, Callable[[], None]]] = {
    "an output whose undo cannot be sent is accepted": (
        replies,
        "unusable_output",
        _nothing,
        nothing_is_too_large,
    ),
    "a step is begun whose undo cannot be sent": (
        forward,
        "attempt_fault",
        _nothing,
        nothing_is_too_large,
    ),
    "seals follow the step's policy": (
        sealing,
        "_BACK_OFF",
        FAST,
        an_absent_service_is_asked_with_pauses,
    ),
    "retries have no floor": (
        retry,
        "QUICK_RETRIES",
        10**9,
        what_is_repeated_for_ever_is_repeated_with_pauses,
    ),
    "a read-only step is sealed": (
        sealing,
        "StepKind",
        SimpleNamespace(READ_ONLY=None),
        a_read_only_step_is_never_asked_about,
    ),
    "what may be done is skipped": (
        repair,
        "was_not_performed",
        lambda step: step.status in (StepStatus.PENDING, StepStatus.FAILED),
        repairs_keep_every_saga_right,
    ),
    "a skipped step hides what it waited for": (
        WorkflowInstance,
        "dependencies_hold",
        _direct_dependencies_hold,
        repairs_keep_every_saga_right,
    ),
    "a patch begins a new round while an attempt is open": (
        StepExecution,
        "may_be_renewed",
        property(lambda step: step.renewed),
        repairs_keep_every_saga_right,
    ),
    "a patched step goes on in its round with a new input": (
        forward,
        "schedule_step",
        _rendered_anew,
        repairs_keep_every_saga_right,
    ),
    "a reset takes back what has no undo": (
        repair,
        "_reset_rejection",
        _nothing,
        repairs_keep_every_saga_right,
    ),
    "a reset goes on in the old round": (
        StepExecution,
        "begin_again",
        lambda step: changed(_begin_again(step), renewed=False),
        repairs_keep_every_saga_right,
    ),
    "a patch changes what an undo reads": (
        repair,
        "undo_rejection",
        _nothing,
        repairs_keep_every_saga_right,
    ),
}


@pytest.mark.parametrize("check", CHECKS, ids=lambda check: check.__name__)
def test_the_rules_hold(check: Callable[[], None]) -> None:
    """With every rule on, nothing is found."""
    check()


@pytest.mark.parametrize("name", MUTANTS)
def test_a_rule_that_is_off_is_found(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Each is what one of the checks looks for."""
    module, attribute, mutant, check = MUTANTS[name]
    monkeypatch.setattr(module, attribute, mutant)

    with pytest.raises((AssertionError, IllegalTransition)):
        check()

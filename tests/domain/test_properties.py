"""Any definition, any course of events: what holds at every step and what holds in the end."""

from __future__ import annotations

from random import Random
from typing import Any

from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from domain.definition.definition import OnCancel, OnFailure, StepKind, WorkflowDefinition
from domain.definition.expression import Template
from domain.definition.registration import registration_faults
from domain.definition.retry import RetryPolicy
from domain.workflow.events import (
    CompensationCompleted,
    CompensationStarted,
    StepCompensated,
    StepExecuted,
    StepScheduled,
    StepSealed,
    StepSkipped,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowReset,
    WorkflowRetried,
)
from domain.workflow.status import CompensationStatus, WorkflowStatus
from domain.workflow.timers import timers_of
from tests.domain.definitions import Path, step, undo_of, workflow
from tests.domain.world import World

#: Reads what an operator may patch.
PATCHED = Template({"n": Path("input.n")})


def any_definition(rng: Random) -> WorkflowDefinition:
    """A random graph of one to six steps that registration accepts, with a pivot or without."""
    names = "abcdef"[: rng.randint(1, 6)]
    after = {
        name: [other for other in names[:place] if rng.random() < 0.4]
        for place, name in enumerate(names)
    }
    before: dict[str, set[str]] = {}
    for name in names:
        before[name] = set(after[name]).union(*(before[other] for other in after[name]))
    pivot = rng.choice(names) if rng.random() < 0.4 else None
    steps = [
        step(name, *after[name], **_facts(rng, name, _kind(rng, name, pivot, before)))
        for name in names
    ]
    definition = workflow(
        *steps,
        on_failure=rng.choice(list(OnFailure)),
        on_cancel=rng.choice(list(OnCancel)),
    )
    assert not registration_faults(definition)
    return definition


def _kind(rng: Random, name: str, pivot: str | None, before: dict[str, set[str]]) -> StepKind:
    """Before the pivot what can be undone, behind it what can be repeated, beside it what only reads."""
    if name == pivot:
        return StepKind.PIVOT
    if rng.random() < 0.2:
        return StepKind.READ_ONLY
    if pivot is None or name in before[pivot]:
        return StepKind.COMPENSATABLE
    return StepKind.RETRIABLE if pivot in before[name] else StepKind.READ_ONLY


def _facts(rng: Random, name: str, kind: StepKind) -> dict[str, object]:
    facts: dict[str, object] = {
        "kind": kind,
        "retry": RetryPolicy(max_retries=rng.randint(0, 2), jitter=rng.choice([0.0, 0.5])),
    }
    if rng.random() < 0.15 and kind is not StepKind.PIVOT:
        facts["when"] = Path("input.nothing")
    if rng.random() < 0.5:
        facts["input"] = PATCHED
    if kind is StepKind.COMPENSATABLE:
        template = PATCHED if rng.random() < 0.5 else None
        facts["compensation"] = undo_of(name, verify=rng.random() < 0.2, template=template)
    return facts


def assert_nothing_is_scheduled_after_an_end(world: World) -> None:
    ended = False
    for event in world.saga.history:
        if isinstance(event, WorkflowRetried | WorkflowReset | CompensationStarted):
            ended = False
        assert not (ended and isinstance(event, StepScheduled)), event
        if isinstance(
            event, WorkflowCompleted | WorkflowFailed | WorkflowCancelled | CompensationCompleted
        ):
            ended = True


def assert_attempts_never_restart(world: World) -> None:
    """Within a round the attempts are 1, 2, 3, ...; a new round follows the one before it."""
    newest: dict[str, tuple[int, int]] = {}
    undos: dict[tuple[str, int], int] = {}
    for event in world.saga.all_of(StepScheduled):
        if event.purpose is not None:
            undo = (event.step_id, event.round)
            assert event.attempt == undos.get(undo, 0) + 1
            undos[undo] = event.attempt
            continue
        round_, attempt = newest.get(event.step_id, (1, 0))
        assert (event.round, event.attempt) in ((round_, attempt + 1), (round_ + 1, 1))
        newest[event.step_id] = (event.round, event.attempt)


def assert_nothing_begins_before_its_turn(world: World) -> None:
    """Whatever a step depends on, directly or through others, is done or left out before it begins."""
    dependents = world.saga.definition.dependents
    satisfied: set[str] = set()
    for event in world.saga.history:
        if isinstance(event, StepExecuted | StepSkipped) or (
            isinstance(event, StepSealed) and event.performed
        ):
            satisfied.add(event.step_id)
        elif isinstance(event, WorkflowReset):
            satisfied -= {event.to_step, *dependents[event.to_step]}
        elif isinstance(event, StepScheduled) and event.purpose is None:
            above = {name for name, below in dependents.items() if event.step_id in below}
            assert above <= satisfied, event


def assert_a_patch_changes_nothing_that_was_begun(world: World) -> None:
    """All attempts of a round send the same input, and an undo reads what its step read."""
    sent: dict[str, Any] = {}
    newest: dict[str, Any] = {}
    for event in world.saga.all_of(StepScheduled):
        if event.purpose != "undo":
            key = f"{event.idempotency_key} {event.purpose}"
            assert event.request.input == sent.setdefault(key, event.request.input), event
        if event.purpose is None:
            newest[event.step_id] = event.request.input
        elif event.request.input and newest[event.step_id] and event.step_id not in world.told:
            assert event.request.input == newest[event.step_id], event


def assert_effects_are_what_the_saga_says(world: World) -> None:
    """What participants really did is what the state says, and in the end nothing is half done."""
    instance, definition = world.saga.instance, world.saga.definition
    last = {effect.step_id: effect for effect in world.effects if effect.purpose != "verify"}
    done = {effect.step_id for effect in world.effects if effect.purpose == "do"}
    # A reset has steps done and undone several times: what counts is how they were left.
    undone = {name for name, effect in last.items() if effect.purpose == "undo"}
    performed = done - undone
    was_reset = bool(world.saga.all_of(WorkflowReset))
    known = {name for name in instance.steps if name not in world.told}
    executed = set(instance.executed_steps)

    assert executed & known <= done
    changing = {name for name in known if kind_of(world, name) != "read-only"}
    assert performed & changing <= executed | set(instance.unresolved)
    assert was_reset or undone & changing <= executed
    match instance.status:
        case WorkflowStatus.COMPLETED:
            assert instance.all_steps_completed
            completed = {name for name in known if instance.steps[name].status == "COMPLETED"}
            assert not undone & completed
            assert was_reset or not undone
        case WorkflowStatus.COMPENSATED:
            left = {name for name in performed if kind_of(world, name) != "read-only"}
            assert not left & known
            assert not instance.unresolved
        case WorkflowStatus.CANCELLED:
            assert world.saga.all_of(WorkflowCancelled)
            assert was_reset or not undone
            assert not instance.unresolved
        case WorkflowStatus.FAILED:
            held = definition.on_failure is OnFailure.HOLD
            stuck = instance.compensation_status is CompensationStatus.FAILED
            assert held or stuck or instance.is_past_pivot
        case _:
            raise AssertionError(f"at rest but {instance.status}")


def assert_effects_are_in_order(world: World) -> None:
    """Done once, undone once; nothing done on top of what was undone, nothing undone from below."""
    gone: set[str] = set()
    there: set[str] = set()
    dependents = world.saga.definition.dependents
    # What an operator skips after a reset is not missed by what follows it.
    skipped = {event.step_id for event in world.saga.all_of(StepSkipped)}
    for effect in world.effects:
        name = effect.step_id
        if name in world.told or effect.purpose == "verify" or kind_of(world, name) == "read-only":
            continue
        if effect.purpose == "undo":
            built_on_it = {other for other in dependents[name] if undoable(world, other)}
            assert not (there & built_on_it - world.told), f"{name} undone too early"
            there.discard(name)
            gone.add(name)
        else:
            assert effect.status is not WorkflowStatus.COMPENSATED
            assert name not in there, f"{name} done twice"
            missed = gone - skipped
            assert not any(name in dependents[other] for other in missed), f"{name} done too late"
            there.add(name)
            # After a reset it is done again, in a new round.
            gone.discard(name)


def undoable(world: World, name: str) -> bool:
    return world.saga.definition.compensation_of(name) is not None


def kind_of(world: World, name: str) -> str:
    return world.saga.definition.step(name).kind


def half_undone(world: World) -> set[str]:
    """Steps whose undo failed for good or was given up, and may be done all the same."""
    steps = world.saga.instance.steps.values()
    given_up = {event.step_id for event in world.saga.all_of(StepCompensated) if event.forced}
    return given_up | {done.step_id for done in steps if done.undo.status == "FAILED"}


def run(rng: Random) -> World:
    """A walk, and then the way to rest; `Saga` compares state and history at every step."""
    world = World.of(any_definition(rng), rng)
    world.walk(rng.randint(0, 60))
    world.rest()
    return world


def check(world: World) -> None:
    """All that holds of a saga at rest, and holds still when every message comes once more."""
    assert_nothing_is_scheduled_after_an_end(world)
    assert_attempts_never_restart(world)
    assert_a_patch_changes_nothing_that_was_begun(world)
    assert_nothing_begins_before_its_turn(world)
    if not world.saga.instance.forced:
        assert_effects_are_what_the_saga_says(world)
        assert_effects_are_in_order(world)


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rng=st.randoms(use_true_random=False))
def test_every_saga_ends_as_it_says(rng: Random) -> None:
    """Completed, or compensated with exactly what was done undone in reverse, or held for a reason."""
    check(run(rng))


@settings(suppress_health_check=[HealthCheck.too_slow, HealthCheck.data_too_large])
@given(rng=st.randoms(use_true_random=False))
def test_an_ended_saga_stays_as_it_is(rng: Random) -> None:
    """When every request, answer and timer comes once more, nothing more is done or scheduled."""
    world = run(rng)
    status, done = world.saga.instance.status, len(world.effects)
    reads = {step.id for step in world.saga.definition.steps if step.kind is StepKind.READ_ONLY}
    open_still = {*world.saga.instance.unresolved, *world.told, *half_undone(world), *reads}

    world.everything_again()

    assert world.saga.instance.status is status
    assert {effect.step_id for effect in world.effects[done:]} <= open_still
    assert not timers_of(world.saga.instance)
    check(world)


@settings(max_examples=400)
@given(seed=st.integers(0, 2**32))
def test_many_more_courses(seed: int) -> None:
    """The same over courses too long to be shrunk, each from its seed."""
    rng = Random(seed)
    world = World.of(any_definition(rng), rng)
    world.walk(300)
    world.rest()
    check(world)

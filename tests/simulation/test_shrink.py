"""A failing run is made smaller, and stays the same failure."""

from __future__ import annotations

import time

import pytest

from tests.simulation.chances import Plan
from tests.simulation.mutants import parts_of
from tests.simulation.mutants.seeds import SEEDS
from tests.simulation.shrink import shrink
from tests.simulation.simulation import Outcome, simulate
from tests.simulation.symptoms import shown, symptom

MUTANT = "wrong-partition-applied"
SEED = SEEDS[MUTANT][0]
BUDGET = 60


def _run(plan: Plan) -> Outcome:
    return simulate(SEED, parts=parts_of(MUTANT), plan=plan)


@pytest.mark.simulation
@pytest.mark.timeout(300)
def test_a_failing_run_is_made_smaller_and_fails_as_before() -> None:
    """Fewer faults strike, what is left fails in the same way when it is replayed, and again is the same."""
    whole = _run(Plan())

    small, again = (shrink(whole, _run, budget=BUDGET) for _ in range(2))
    replayed = _run(small.plan)

    assert len(small.kinds) < len(whole.kinds) / 2
    assert symptom(replayed.violations[0]) == symptom(whole.violations[0])
    assert replayed.violations == small.violations
    assert again.plan == small.plan


def _with_violation(outcome: Outcome, says: str) -> Outcome:
    return Outcome(
        seed=outcome.seed,
        plan=outcome.plan,
        violations=[says],
        trace=outcome.trace,
        ends={},
        virtual_seconds=0.0,
        kinds=outcome.kinds,
        workflows=outcome.workflows,
    )


@pytest.mark.simulation
def test_another_violation_is_another_story() -> None:
    """A smaller run that fails in another way is not taken for the one that was looked for."""
    whole = _with_violation(_run(Plan()), "wf-1/pick/1 was performed twice")

    def run(plan: Plan) -> Outcome:
        return _with_violation(_run(plan), "wf-1: time runs backwards at version 3")

    assert shrink(whole, run, budget=3) is whole


@pytest.mark.simulation
def test_shrinking_ends_in_time() -> None:
    """When its time is over no further run is tried: the report is there, whatever its size."""
    whole = _run(Plan())
    tried: list[Plan] = []

    def run(plan: Plan) -> Outcome:
        tried.append(plan)
        return whole

    assert shrink(whole, run, deadline=time.monotonic()) is whole
    assert tried == []


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("wf-1: a commit begins at 1, not 10", "wf-22: a commit begins at 30, not 7"),
        (
            "wf-0/charge/1/undo was asked for while assign is EXECUTING, attempts (1, 2) unanswered",
            "wf-5/pick/2/undo was asked for while pack is COMPLETED, attempts () unanswered",
        ),
        (
            "the message at ('commands', 0, 0, 26) was decided twice, for wf-0 too",
            "the message at ('replies', 1, 3, 5) was decided twice, for inbox:0 too",
        ),
    ],
)
def test_who_it_happened_to_makes_no_difference(one: str, other: str) -> None:
    """Ids, keys, numbers, statuses and steps are no part of what is wrong."""
    assert symptom(one) == symptom(other) != ""


@pytest.mark.parametrize(
    ("one", "other"),
    [
        ("wf-1/pick/1 was performed twice", "wf-1/pick/1 was undone and never performed"),
        ("a process crashed: KeyError('x')", "a process crashed: MemoryError('x')"),
        ("wf-1: WorkflowStepSealedEvent of version 3 is not true", "wf-1: time runs backwards"),
    ],
)
def test_what_happened_does(one: str, other: str) -> None:
    """Sentences of different checks, or of different crashes, are different symptoms."""
    assert symptom(one) != symptom(other)


def test_derived_ids_are_shown_as_names() -> None:
    """A table of violations is for people."""
    derived = "7c34dbb6-5ffa-56d2-9c21-97ceae194ff3"

    assert shown(f"{derived}: a commit begins at 1, not 10") == "wf-N: a commit begins at 1, not 10"

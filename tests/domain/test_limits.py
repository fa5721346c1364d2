"""How large a definition may be: what cannot be proved in a moment is refused at once."""

from __future__ import annotations

import time

from domain.definition.dependencies import Dependencies
from domain.definition.faults import Rule
from domain.definition.registration import registration_faults
from tests.domain.definitions import chain, step, workflow


def test_a_definition_has_at_most_a_thousand_steps() -> None:
    """Nothing else of it is looked at: the proof of eight thousand steps took twelve seconds."""
    many = workflow(*(step(f"s{number}") for number in range(8000)))

    (fault,) = registration_faults(many)
    assert (fault.rule, fault.path) == (Rule.LIMIT, "steps")


def test_a_definition_has_at_most_ten_thousand_dependencies() -> None:
    """Each of two hundred steps after all those before it is too much."""
    names = [f"s{number}" for number in range(200)]
    tangled = workflow(*(step(name, *names[:place]) for place, name in enumerate(names)))

    (fault,) = registration_faults(tangled)
    assert (fault.rule, fault.path) == (Rule.LIMIT, "steps.dependsOn")


def test_the_largest_definition_is_proved_in_a_moment() -> None:
    """A chain of a thousand steps has half a million paths."""
    largest = chain(*(f"s{number}" for number in range(1000)))

    begun = time.process_time()
    assert not registration_faults(largest)
    assert time.process_time() - begun < 2


def test_paths_lead_through_circles() -> None:
    """Every step of a circle is reached from each of them and from what depends on it."""
    found = Dependencies([step("a", "b"), step("b", "c"), step("c", "a"), step("d", "a")])

    assert {found.ancestors(name) for name in "abcd"} == {frozenset("abc")}

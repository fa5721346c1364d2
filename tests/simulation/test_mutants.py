"""The checks of the simulation notice when a rule is missing, and the page says what they say."""

from __future__ import annotations

import inspect
import re
from functools import cache

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.mutants.seeds import SEEDS
from tests.simulation.mutants.table import PAGE, row, rows_of
from tests.simulation.simulation import simulate

STALE = "the code draws its dice in another order: run `python -m tests.simulation.hunt`"


@cache
def _with_every_rule(seed: int) -> list[str]:
    """Mutants share their seeds."""
    return simulate(seed).violations


@pytest.mark.simulation
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_missing_rule_is_found(mutant: Mutant) -> None:
    """With the rule off its seed fails as the table says, with nothing off the very seed is clean."""
    seeds = SEEDS.get(mutant.name, ())
    assert seeds, STALE

    violations = simulate(seeds[0], parts=mutant.parts).violations

    assert violations, STALE
    assert rows_of(PAGE.read_text()).get(mutant.name) == row(mutant, seeds, violations[0]), STALE
    assert _with_every_rule(seeds[0]) == []


@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_what_a_mutant_replaces_is_there(mutant: Mutant) -> None:
    """Code that was renamed would leave a mutant that switches nothing off."""
    for owner, name, _ in mutant.parts.patches:
        assert re.search(rf"\b{name}\b", inspect.getsource(owner)), f"{owner} has no {name}"


def test_the_page_lists_every_mutant() -> None:
    """Its table has a line for each, in the order of the rules, and no other."""
    assert list(rows_of(PAGE.read_text())) == [mutant.name for mutant in MUTANTS]

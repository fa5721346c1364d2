"""The checks of the simulation notice when a rule is missing."""

from __future__ import annotations

from itertools import chain
from pathlib import Path

import pytest

from tests.simulation.hunt import finds
from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.mutants.seeds import SEEDS

PAGE = Path(__file__).parents[2] / "docs" / "reliability.md"
#: Where the known seeds find nothing any more, since the code draws its dice in another order.
OTHERS = range(400)


@pytest.mark.simulation
@pytest.mark.timeout(300)
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_missing_rule_is_found(mutant: Mutant) -> None:
    """With the rule off a seed fails that is clean with it on, as `test_smoke` says."""
    assert finds(mutant.name, chain(SEEDS[mutant.name], OTHERS)).seeds


def test_the_page_lists_every_mutant() -> None:
    """Its table names each with its rule and a seed that finds it."""
    rows = {
        cells[1].strip("`"): (cells[0], cells[3])
        for line in PAGE.read_text().splitlines()
        if len(cells := [cell.strip() for cell in line.strip("|").split("|")]) == 5
    }

    expected = {
        mutant.name: (str(mutant.rule) if mutant.rule else "core", str(SEEDS[mutant.name][0]))
        for mutant in MUTANTS
    }
    assert {name: rows.get(name) for name in expected} == expected

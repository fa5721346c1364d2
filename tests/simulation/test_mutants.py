"""The checks of the simulation notice when a rule is missing."""

from __future__ import annotations

import pytest

from tests.simulation.mutants import MUTANTS, Mutant
from tests.simulation.simulation import simulate


@pytest.mark.simulation
@pytest.mark.parametrize("mutant", MUTANTS, ids=lambda mutant: mutant.name)
def test_a_missing_rule_is_found(mutant: Mutant) -> None:
    """With the rule off some of its seeds fail; `test_smoke` says that with it on none does."""
    found = [seed for seed in mutant.seeds if simulate(seed, parts=mutant.parts).violations]

    assert found

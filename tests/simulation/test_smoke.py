"""Seeded runs of the whole system with faults; `make simulate` and CI run these."""

from __future__ import annotations

import pytest

from tests.simulation.simulation import simulate

SEEDS = range(60)


@pytest.mark.simulation
@pytest.mark.parametrize("seed", SEEDS)
def test_nothing_is_lost_doubled_or_out_of_order(seed: int) -> None:
    """Whatever fails, every promise of the protocol holds, and a healed world comes to rest."""
    outcome = simulate(seed)

    told = "\n  ".join([f"seed {seed}; replay it: {outcome.command}", *outcome.violations])
    assert not outcome.violations, told

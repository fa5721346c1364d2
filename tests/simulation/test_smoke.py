"""Seeded runs of the whole system with faults; `make simulate` runs more of them."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

from application.engine import processor
from tests.simulation.simulation import simulate
from tests.simulation.world import Parts

ROOT = Path(__file__).parents[2]
HERE = range(50)
PER_PROCESS = 90
ELSEWHERE = range(HERE.stop, 500, PER_PROCESS)


@pytest.mark.simulation
@pytest.mark.parametrize("seed", HERE)
def test_nothing_is_lost_doubled_or_out_of_order(seed: int) -> None:
    """Whatever fails, every promise of the protocol holds, and a healed world comes to rest."""
    outcome = simulate(seed)

    told = "\n  ".join([f"seed {seed}; replay it: {outcome.command}", *outcome.violations])
    assert not outcome.violations, told


@pytest.mark.simulation
@pytest.mark.parametrize("seed", range(30))
def test_nothing_is_lost_when_batches_are_halved(seed: int) -> None:
    """As many messages as part a batch in production do not come together here, so fewer do."""
    outcome = simulate(seed, parts=Parts(patches=((processor, "_WORTH_PARTING", 2),)))

    assert not outcome.violations


@pytest.mark.simulation
@pytest.mark.timeout(300)
@pytest.mark.parametrize("first", ELSEWHERE)
def test_more_seeds_on_processes_of_their_own(first: int) -> None:
    """The command line runs many seeds at once, and says how to replay one that fails."""
    options = f"--first {first} --count {PER_PROCESS} --jobs 2".split()

    ran = subprocess.run(
        [sys.executable, "-m", "tests.simulation", *options],
        cwd=ROOT,
        env={**os.environ, "PYTHONPATH": os.pathsep.join([str(ROOT), str(ROOT / "sdk")])},
        capture_output=True,
        text=True,
        check=False,
    )

    assert ran.returncode == 0, ran.stdout + ran.stderr
    assert ran.stdout.startswith(f"{PER_PROCESS} seeds, 0 failed\n")

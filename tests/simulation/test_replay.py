"""A seed is a whole run: it can be replayed, anywhere, to the byte."""

from __future__ import annotations

import asyncio
import os
import subprocess
import sys
from pathlib import Path

import pytest

from adapters.memory import virtual_time
from tests.simulation.simulation import simulate

ROOT = Path(__file__).parents[2]
SEED = 7


@pytest.mark.simulation
def test_a_seed_replays_to_the_byte() -> None:
    """Two runs in one process leave the same trace, another seed another one."""
    first, second = simulate(SEED, keep_trace=True), simulate(SEED, keep_trace=True)
    other = simulate(SEED + 1, keep_trace=True)

    assert first.trace.lines == second.trace.lines
    assert first.trace.digest != other.trace.digest


@pytest.mark.simulation
@pytest.mark.parametrize("seed", [SEED, 41, 59, 79])
def test_the_printed_command_replays_the_run(seed: int) -> None:
    """A process whose hashes fall differently prints the very trace of this one."""
    here = simulate(seed, keep_trace=True)
    interpreter, *arguments = here.command.split()
    # Outside of the environment that `make setup` makes, with nothing set.
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}

    replayed = subprocess.run(
        [sys.executable, *arguments],
        cwd=ROOT,
        env={**environment, "PYTHONHASHSEED": "1234"},
        capture_output=True,
        text=True,
        check=True,
    )

    assert interpreter == ".venv/bin/python"
    assert replayed.stdout.splitlines()[:-1] == here.trace.lines


def test_time_jumps_to_what_comes_next() -> None:
    """An hour of virtual time passes at once, and in order."""

    async def sleep_an_hour() -> list[str]:
        woken: list[str] = []

        async def sleeper(name: str, seconds: float) -> None:
            await asyncio.sleep(seconds)
            woken.append(f"{name} at {asyncio.get_running_loop().time():.0f}")

        await asyncio.gather(sleeper("late", 3600), sleeper("early", 1800))
        return woken

    assert virtual_time.run(sleep_an_hour()) == ["early at 1800", "late at 3600"]


def test_a_standstill_is_noticed() -> None:
    """When nobody can go on any more, the loop says so instead of hanging."""

    async def wait_for_nobody() -> None:
        await asyncio.get_running_loop().create_future()

    with pytest.raises(virtual_time.Stuck):
        virtual_time.run(wait_for_nobody())

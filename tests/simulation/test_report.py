"""What a campaign tells: nobody is left without the command that repeats what went wrong."""

from __future__ import annotations

from typing import Any

import pytest

from tests.simulation import __main__ as command_line
from tests.simulation import campaign, simulation
from tests.simulation.chances import Kind, Plan
from tests.simulation.mutants.seeds import SEEDS
from tests.simulation.simulation import Outcome, simulate
from tests.simulation.world import Parts

MUTANT = "wrong-partition-applied"


async def _break(_: Any) -> None:
    raise LookupError("a bug of the simulation")


BROKEN = Parts(patches=((simulation, "torment", _break),))


@pytest.mark.simulation
def test_a_bug_of_the_simulation_is_a_failed_seed() -> None:
    """It has a violation and a command like any other, and its trace ends with it."""
    outcome = simulate(0, keep_trace=True, parts=BROKEN)

    assert len(outcome.violations) == 1
    assert "LookupError('a bug of the simulation') in _break" in outcome.violations[0]
    assert outcome.command == ".venv/bin/python -m tests.simulation --seed 0 --trace"
    assert outcome.trace.lines[-1].endswith(f"WRONG: {outcome.violations[0]}")


@pytest.mark.simulation
def test_a_campaign_goes_on_after_a_bug(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """The seeds behind it are run, and each that failed is told with its command."""

    def simulate_or_break(seed: int, **_: Any) -> Outcome:
        return simulate(seed, parts=BROKEN if seed == 1 else None)

    monkeypatch.setattr(campaign, "simulate", simulate_or_break)
    monkeypatch.setattr(command_line, "simulate", simulate_or_break)

    assert command_line.main(["--first", "0", "--count", "3", "--no-shrink"]) == 1
    told = capsys.readouterr().out
    assert told.startswith("3 seeds, 1 failed\n")
    assert "seed 1 failed; replay it: .venv/bin/python -m tests.simulation --seed 1 --trace" in told


@pytest.mark.simulation
def test_a_campaign_shrinks_what_failed_after_telling_all_of_it(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    """Whoever stops it, since shrinking takes time, has read all that failed; and the time is bounded."""
    monkeypatch.setattr(command_line, "_SHRINKING_SECONDS", 0.0)
    seed = SEEDS[MUTANT][0]

    command_line.main(["--first", str(seed), "--count", "1", "--mutant", MUTANT])

    lines = capsys.readouterr().out.splitlines()
    whole = f".venv/bin/python -m tests.simulation --seed {seed} --mutant {MUTANT} --trace"
    first = lines.index(f"seed {seed} failed; replay it: {whole}")
    shrinking = lines.index("shrinking 1 of them, for at most 0 seconds:")
    assert first < shrinking
    assert lines[shrinking + 1].endswith(f"replay it: {whole}")


@pytest.mark.simulation
def test_a_violation_is_in_the_trace_at_its_time() -> None:
    """Who reads the trace finds what was wrong between what came before and after it."""
    found = command_line.parts_of(MUTANT)
    outcome = simulate(SEEDS[MUTANT][0], keep_trace=True, parts=found)

    wrong = [line for line in outcome.trace.lines if " check " in line]

    assert wrong[0].endswith(f"WRONG: {outcome.violations[0]}")
    assert 0.0 < float(wrong[0].split()[0]) <= outcome.virtual_seconds
    assert outcome.trace.lines[-1] != wrong[0]


@pytest.mark.parametrize(
    "words",
    [
        "--seed 1 --count 20",
        "--seed 1 --first 0",
        "--seed 1 --jobs 2",
        "--seed 1 --no-shrink",
        "--trace",
        "--count 5 --skip 3",
        "--seed 1 --without no-such-fault",
    ],
)
def test_what_does_not_go_together_is_refused(
    words: str, capsys: pytest.CaptureFixture[str]
) -> None:
    """Nobody gets one seed who asked for twenty."""
    with pytest.raises(SystemExit) as ended:
        command_line.main(words.split())

    assert ended.value.code == 2
    assert "error: " in capsys.readouterr().err


def test_the_command_names_all_that_the_run_was() -> None:
    """What was taken away, and the rule that was switched off."""
    plan = Plan(frozenset({Kind.OUTAGE}), 40, frozenset({7, 3}), frozenset({"wf-1"}))

    assert simulation.command(5, plan, "fence-off") == (
        ".venv/bin/python -m tests.simulation --seed 5 --mutant fence-off"
        " --without outage --until 40 --skip 3,7 --workflows wf-1 --trace"
    )

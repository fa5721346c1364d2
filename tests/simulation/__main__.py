"""`python -m tests.simulation`: run many seeds, or replay one with its trace."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Sequence
from functools import partial

from tests.simulation.campaign import Tally, run_seeds
from tests.simulation.chances import Kind, Plan
from tests.simulation.mutants import MUTANTS, parts_of
from tests.simulation.shrink import shrink
from tests.simulation.simulation import Outcome, simulate

_FAILURES_SHRUNK = 3
_SECONDS_BETWEEN_WORDS = 15.0


def main() -> int:
    options = _options()
    if options.seed is not None:
        return _replay(options)
    return _run_many(options)


def _options() -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    many = parser.add_argument_group("many seeds")
    many.add_argument("--first", type=int, default=0, help="the first seed")
    many.add_argument("--count", type=int, default=100, help="how many seeds from there")
    many.add_argument("--jobs", type=int, default=1, help="processes")
    many.add_argument("--no-shrink", action="store_true", help="leave failing seeds as they are")
    one = parser.add_argument_group("one seed")
    one.add_argument("--seed", type=int, help="replay this seed")
    one.add_argument("--trace", action="store_true", help="print what happened")
    one.add_argument("--shrink", action="store_true", help="look for a smaller run that fails")
    one.add_argument("--without", type=_words, default=frozenset(), help="kinds of faults")
    one.add_argument("--until", type=int, help="only so many faults")
    one.add_argument("--skip", type=_numbers, default=frozenset(), help="numbers of faults")
    one.add_argument("--workflows", type=_words, help="only these workflows")
    mutants = [mutant.name for mutant in MUTANTS]
    parser.add_argument("--mutant", choices=mutants, help="with this rule switched off")
    options = parser.parse_args()
    unknown = options.without - {kind.value for kind in Kind}
    if unknown:
        parser.error(f"no such kinds: {', '.join(unknown)}; there are {', '.join(Kind)}")
    return options


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(word) for word in text.split(","))


def _write(line: str) -> None:
    sys.stdout.write(line + "\n")


# -- one seed ------------------------------------------------------------------------------------


def _replay(options: argparse.Namespace) -> int:
    plan = Plan(options.without, options.until, options.skip, options.workflows)
    run = partial(_simulated, options.seed, options.mutant)
    outcome = run(plan)
    if options.shrink and outcome.violations:
        outcome = shrink(outcome, run)
    if options.trace:
        outcome = simulate(
            options.seed, keep_trace=True, parts=parts_of(options.mutant), plan=outcome.plan
        )
    for line in outcome.trace.lines:
        _write(line)
    if outcome.violations:
        _tell(options.seed, outcome, options.mutant)
        return 1
    ends = ", ".join(f"{count} {status}" for status, count in sorted(outcome.ends.items()))
    _write(f"seed {outcome.seed}: {ends}; {outcome.virtual_seconds:.0f} virtual seconds")
    return 0


def _simulated(seed: int, mutant: str | None, plan: Plan) -> Outcome:
    return simulate(seed, parts=parts_of(mutant), plan=plan)


def _tell(seed: int, outcome: Outcome, mutant: str | None) -> None:
    option = f" --mutant '{mutant}'" if mutant else ""
    _write(f"seed {seed} failed; {len(outcome.kinds)} faults; replay it: {outcome.command}{option}")
    for violation in outcome.violations:
        _write(f"  {violation}")


# -- many seeds ----------------------------------------------------------------------------------


def _run_many(options: argparse.Namespace) -> int:
    seeds = range(options.first, options.first + options.count)
    began = time.monotonic()
    total = run_seeds(seeds, options.jobs, options.mutant, _Progress(len(seeds)).told)
    for line in total.lines():
        _write(line)
    _write(f"{time.monotonic() - began:.0f} seconds on {options.jobs} processes")
    for number, seed in enumerate(sorted(total.failed)):
        run = partial(_simulated, seed, options.mutant)
        outcome = run(Plan())
        if number < _FAILURES_SHRUNK and not options.no_shrink:
            outcome = shrink(outcome, run)
        _tell(seed, outcome, options.mutant)
    return 1 if total.failed else 0


class _Progress:
    """Says now and then how far it is."""

    def __init__(self, seeds: int) -> None:
        self._seeds = seeds
        self._last = time.monotonic()

    def told(self, so_far: Tally) -> None:
        now = time.monotonic()
        if now - self._last >= _SECONDS_BETWEEN_WORDS:
            self._last = now
            failed: Sequence[int] = sorted(so_far.failed)
            told = f"; failed: {', '.join(map(str, failed[:10]))}" if failed else ""
            sys.stderr.write(f"{so_far.seeds} of {self._seeds} seeds{told}\n")


if __name__ == "__main__":
    sys.exit(main())

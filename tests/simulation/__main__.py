"""`python -m tests.simulation`: run many seeds, or replay one with its trace."""

from __future__ import annotations

import argparse
import signal
import sys
import time
from collections.abc import Sequence
from functools import partial

from tests.simulation.campaign import Tally, run_seeds
from tests.simulation.chances import Kind, Plan
from tests.simulation.mutants import MUTANTS, parts_of
from tests.simulation.shrink import shrink
from tests.simulation.simulation import Outcome, command, simulate

#: Of a campaign so many failures are shrunk, for so long in all: whoever waits for its report gets it.
_FAILURES_SHRUNK = 3
_SHRINKING_SECONDS = 90.0
_SECONDS_BETWEEN_WORDS = 15.0
#: What belongs to many seeds and to one; the others to both.
_OF_MANY = ("first", "count", "jobs", "no_shrink")
_OF_ONE = ("trace", "shrink", "without", "until", "skip", "workflows")


def main(arguments: Sequence[str] | None = None) -> int:
    options = _options(arguments)
    if options.seed is not None:
        return _replay(options)
    return _run_many(options)


def _options(arguments: Sequence[str] | None) -> argparse.Namespace:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    many = parser.add_argument_group("many seeds")
    many.add_argument("--first", type=int, help="the first seed (0)")
    many.add_argument("--count", type=int, help="how many seeds from there (100)")
    many.add_argument("--jobs", type=int, help="processes (1)")
    many.add_argument(
        "--no-shrink", action="store_true", default=None, help="leave failing seeds as they are"
    )
    one = parser.add_argument_group("one seed")
    one.add_argument("--seed", type=int, help="replay this seed")
    one.add_argument("--trace", action="store_true", default=None, help="print what happened")
    one.add_argument(
        "--shrink", action="store_true", default=None, help="look for a smaller run that fails so"
    )
    one.add_argument("--without", type=_words, help="kinds of faults")
    one.add_argument("--until", type=int, help="only so many faults")
    one.add_argument("--skip", type=_numbers, help="numbers of faults")
    one.add_argument("--workflows", type=_words, help="only these workflows")
    mutants = [mutant.name for mutant in MUTANTS]
    parser.add_argument("--mutant", choices=mutants, help="with this rule switched off")
    options = parser.parse_args(arguments)
    _refuse_mixtures(parser, options)
    unknown = (options.without or frozenset()) - {kind.value for kind in Kind}
    if unknown:
        parser.error(f"no such kinds: {', '.join(unknown)}; there are {', '.join(Kind)}")
    return options


def _refuse_mixtures(parser: argparse.ArgumentParser, options: argparse.Namespace) -> None:
    """Nobody who asks for many seeds gets one, and the other way round."""
    is_one = options.seed is not None
    for name in _OF_MANY if is_one else _OF_ONE:
        if getattr(options, name) is not None:
            reason = "runs one seed; many are --first and --count" if is_one else "is missing"
            parser.error(f"--{name.replace('_', '-')}: --seed {reason}")


def _words(text: str) -> frozenset[str]:
    return frozenset(text.split(","))


def _numbers(text: str) -> frozenset[int]:
    return frozenset(int(word) for word in text.split(","))


def _write(line: str) -> None:
    """At once: what is told is not lost to whoever stops the rest."""
    sys.stdout.write(line + "\n")
    sys.stdout.flush()


# -- one seed ------------------------------------------------------------------------------------


def _replay(options: argparse.Namespace) -> int:
    plan = Plan(
        options.without or frozenset(),
        options.until,
        options.skip or frozenset(),
        options.workflows,
    )
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
        _tell(outcome, options.mutant)
        return 1
    ends = ", ".join(f"{count} {status}" for status, count in sorted(outcome.ends.items()))
    _write(f"seed {outcome.seed}: {ends}; {outcome.virtual_seconds:.0f} virtual seconds")
    return 0


def _simulated(seed: int, mutant: str | None, plan: Plan) -> Outcome:
    return simulate(seed, parts=parts_of(mutant), plan=plan)


def _tell(outcome: Outcome, mutant: str | None) -> None:
    replay = command(outcome.seed, outcome.plan, mutant)
    _write(f"seed {outcome.seed} failed; {len(outcome.kinds)} faults; replay it: {replay}")
    for violation in outcome.violations:
        _write(f"  {violation}")


# -- many seeds ----------------------------------------------------------------------------------


def _run_many(options: argparse.Namespace) -> int:
    first, jobs = options.first or 0, options.jobs or 1
    seeds = range(first, first + (100 if options.count is None else options.count))
    began = time.monotonic()
    total = run_seeds(seeds, jobs, options.mutant, _Progress(len(seeds)).told)
    for line in total.lines():
        _write(line)
    _write(f"{time.monotonic() - began:.0f} seconds on {jobs} processes")
    for seed, violations in sorted(total.failed.items()):
        _write(f"seed {seed} failed; replay it: {command(seed, Plan(), options.mutant)}")
        for violation in violations:
            _write(f"  {violation}")
    if total.failed and not options.no_shrink:
        _shrink_first(sorted(total.failed)[:_FAILURES_SHRUNK], options.mutant)
    return 1 if total.failed else 0


def _shrink_first(seeds: Sequence[int], mutant: str | None) -> None:
    _write(f"shrinking {len(seeds)} of them, for at most {_SHRINKING_SECONDS:.0f} seconds:")
    deadline = time.monotonic() + _SHRINKING_SECONDS
    for seed in seeds:
        run = partial(_simulated, seed, mutant)
        _tell(shrink(run(Plan()), run, deadline=deadline), mutant)


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
    # Whoever reads the beginning of a trace only has read enough.
    signal.signal(signal.SIGPIPE, signal.SIG_DFL)
    sys.exit(main())

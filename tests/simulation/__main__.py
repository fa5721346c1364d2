"""`python -m tests.simulation`: run seeds, or replay one with its trace."""

from __future__ import annotations

import argparse
import sys
import time

from tests.simulation.simulation import Outcome, simulate


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation", description=__doc__)
    parser.add_argument("--seed", type=int, default=0, help="the first seed")
    parser.add_argument("--count", type=int, default=1, help="how many seeds from there")
    parser.add_argument("--trace", action="store_true", help="print what happened")
    options = parser.parse_args()
    began = time.monotonic()
    failed = 0
    for seed in range(options.seed, options.seed + options.count):
        outcome = simulate(seed, keep_trace=options.trace)
        failed += bool(outcome.violations)
        _report(outcome)
    spent = time.monotonic() - began
    sys.stderr.write(f"{options.count} seeds, {failed} failed, {spent:.1f} s\n")
    return 1 if failed else 0


def _report(outcome: Outcome) -> None:
    write = sys.stdout.write
    for line in outcome.trace.lines:
        write(line + "\n")
    if outcome.violations:
        write(f"seed {outcome.seed} failed; replay: {outcome.command}\n")
        for violation in outcome.violations:
            write(f"  {violation}\n")
    else:
        ends = ", ".join(f"{count} {status}" for status, count in sorted(outcome.ends.items()))
        write(f"seed {outcome.seed}: {ends}; {outcome.virtual_seconds:.0f} virtual seconds\n")


if __name__ == "__main__":
    sys.exit(main())

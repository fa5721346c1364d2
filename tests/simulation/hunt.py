"""`python -m tests.simulation.hunt`: in which seeds each mutant is found."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Iterable, Iterator
from concurrent.futures import ProcessPoolExecutor, as_completed
from dataclasses import dataclass

from tests.simulation.mutants import MUTANTS, parts_of
from tests.simulation.simulation import simulate

#: Seeds that are looked through at most.
SEEDS_MAX = 2000


@dataclass(frozen=True, slots=True)
class Finds:
    """The first seeds that find a mutant, and what the first one says."""

    mutant: str
    seeds: tuple[int, ...]
    says: str


def finds(mutant: str, seeds: Iterable[int] = range(SEEDS_MAX), enough: int = 1) -> Finds:
    """Look through the seeds until enough of them have found it."""
    found: list[int] = []
    says = ""
    for seed in seeds:
        outcome = simulate(seed, parts=parts_of(mutant))
        if outcome.violations:
            says = says or outcome.violations[0]
            found.append(seed)
        if len(found) == enough:
            break
    return Finds(mutant, tuple(found), says)


def _all(names: list[str], seeds: int, enough: int, jobs: int) -> Iterator[Finds]:
    with ProcessPoolExecutor(jobs) as pool:
        hunts = [pool.submit(finds, name, range(seeds), enough) for name in names]
        for hunt in as_completed(hunts):
            yield hunt.result()


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.hunt", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1)
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help="look through so many")
    parser.add_argument("--enough", type=int, default=5, help="finds after which it is enough")
    parser.add_argument("mutants", nargs="*", help="all of them by default")
    options = parser.parse_args()
    names = options.mutants or [mutant.name for mutant in MUTANTS]
    survived = 0
    for found in _all(names, options.seeds, options.enough, options.jobs):
        survived += not found.seeds
        seeds = ", ".join(map(str, found.seeds)) or "SURVIVES"
        sys.stdout.write(f"{found.mutant:<34} {seeds:<28} {found.says}\n")
        sys.stdout.flush()
    return 1 if survived else 0


if __name__ == "__main__":
    sys.exit(main())

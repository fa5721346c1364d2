"""`python -m tests.simulation.hunt`: in which seeds each mutant is found, written into `seeds.py` and the docs."""

from __future__ import annotations

import argparse
import sys
import time
from collections.abc import Iterable, Iterator, Sequence
from concurrent.futures import FIRST_COMPLETED, Future, ProcessPoolExecutor, wait
from dataclasses import dataclass

from tests.simulation.mutants import MUTANTS, mutant_of, parts_of
from tests.simulation.mutants.seeds import SEEDS
from tests.simulation.mutants.table import row, write_rows, write_seeds
from tests.simulation.simulation import simulate

#: Seeds that are looked through at most.
SEEDS_MAX = 4000
_SECONDS_BETWEEN_WORDS = 30.0


@dataclass(frozen=True, slots=True)
class Finds:
    """The first seeds that find a mutant, and what the first one says."""

    mutant: str
    seeds: tuple[int, ...]
    says: str


def finds(mutant: str, seeds: Iterable[int], enough: int) -> Finds:
    """Look through the seeds until enough of them have found it. One that fails without the mutant proves nothing."""
    found: list[int] = []
    says = ""
    for seed in seeds:
        outcome = simulate(seed, parts=parts_of(mutant))
        if outcome.violations and not simulate(seed).violations:
            says = says or outcome.violations[0]
            found.append(seed)
        if len(found) == enough:
            break
    return Finds(mutant, tuple(found), says)


def _rarest_first(names: Sequence[str]) -> list[str]:
    """As the last hunt found them, so that no long one is left for the end; those nobody has hunted before all."""
    return sorted(names, key=lambda name: -SEEDS.get(name, (SEEDS_MAX,))[-1])


def _all(names: Sequence[str], seeds: int, enough: int, jobs: int) -> Iterator[Finds]:
    began = time.monotonic()
    with ProcessPoolExecutor(jobs) as pool:
        hunts: dict[Future[Finds], str] = {
            pool.submit(finds, name, range(seeds), enough): name for name in _rarest_first(names)
        }
        while hunts:
            done, _ = wait(hunts, _SECONDS_BETWEEN_WORDS, FIRST_COMPLETED)
            for hunt in done:
                del hunts[hunt]
                yield hunt.result()
            under_way = ", ".join(list(hunts.values())[:jobs])
            sys.stderr.write(
                f"{len(names) - len(hunts)} of {len(names)} mutants,"
                f" {time.monotonic() - began:.0f} s; now {under_way or 'done'}\n"
            )


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m tests.simulation.hunt", description=__doc__)
    parser.add_argument("--jobs", type=int, default=1, help="processes")
    parser.add_argument("--seeds", type=int, default=SEEDS_MAX, help="look through so many")
    parser.add_argument("--enough", type=int, default=3, help="finds after which it is enough")
    parser.add_argument("mutants", nargs="*", metavar="mutant", help="all of them by default")
    options = parser.parse_args()
    names: list[str] = options.mutants or [mutant.name for mutant in MUTANTS]
    unknown = set(names) - {mutant.name for mutant in MUTANTS}
    if unknown:
        parser.error(f"no such mutants: {', '.join(sorted(unknown))}")
    seeds, rows = dict(SEEDS), dict[str, str]()
    survivors: list[str] = []
    for found in _all(names, options.seeds, options.enough, options.jobs):
        told = ", ".join(map(str, found.seeds)) or "SURVIVES"
        sys.stdout.write(f"{found.mutant:<34} {told:<28} {found.says}\n")
        sys.stdout.flush()
        if not found.seeds:
            survivors.append(found.mutant)
            continue
        seeds[found.mutant] = found.seeds
        rows[found.mutant] = row(mutant_of(found.mutant), found.seeds, found.says)
        # Each at once: a hunt that is stopped leaves what it has found.
        write_seeds(seeds)
        write_rows(rows)
    if survivors:
        sys.stdout.write(f"not found, and left as they were: {', '.join(survivors)}\n")
    return 1 if survivors else 0


if __name__ == "__main__":
    sys.exit(main())

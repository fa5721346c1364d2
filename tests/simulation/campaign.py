"""Many seeds, on several processes, and what they add up to."""

from __future__ import annotations

import time
from collections import Counter
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ProcessPoolExecutor
from dataclasses import dataclass, field

from tests.simulation.chances import Kind
from tests.simulation.mutants import parts_of
from tests.simulation.simulation import simulate

_CHUNK = 10


@dataclass(slots=True)
class Tally:
    """What some seeds came to."""

    seeds: int = 0
    workflows: Counter[str] = field(default_factory=Counter[str])
    points: int = 0
    struck: Counter[str] = field(default_factory=Counter[str])
    checks: int = 0
    virtual_seconds: float = 0.0
    cpu_seconds: float = 0.0
    #: Seed -> what was wrong.
    failed: dict[int, list[str]] = field(default_factory=dict[int, list[str]])

    def add(self, other: Tally) -> None:
        self.seeds += other.seeds
        self.workflows += other.workflows
        self.points += other.points
        self.struck += other.struck
        self.checks += other.checks
        self.virtual_seconds += other.virtual_seconds
        self.cpu_seconds += other.cpu_seconds
        self.failed.update(other.failed)

    def lines(self) -> Iterator[str]:
        """The report."""
        seeds = max(1, self.seeds)
        yield f"{self.seeds} seeds, {len(self.failed)} failed"
        ends = ", ".join(f"{count} {end}" for end, count in sorted(self.workflows.items()))
        yield f"{self.workflows.total()} workflows: {ends}"
        total = self.struck.total()
        yield (
            f"{self.points} fault points ({self.points // seeds} a seed),"
            f" {total} faults struck ({total / seeds:.0f} a seed):"
        )
        for kind in Kind:
            yield f"  {kind.value:<17} {self.struck[kind]:>9}"
        yield f"{self.checks} checks at steps ({self.checks // seeds} a seed), full checks at every end"
        yield (
            f"{self.virtual_seconds:.0f} virtual seconds,"
            f" {self.cpu_seconds:.0f} CPU seconds ({self.cpu_seconds / seeds:.3f} a seed)"
        )


def run_chunk(seeds: Sequence[int], mutant: str | None) -> Tally:
    """Some seeds, one after another."""
    tally = Tally(seeds=len(seeds))
    began = time.process_time()
    for seed in seeds:
        outcome = simulate(seed, parts=parts_of(mutant))
        tally.workflows.update(outcome.ends)
        tally.struck.update(outcome.struck)
        tally.points += outcome.points
        tally.checks += outcome.checks
        tally.virtual_seconds += outcome.virtual_seconds
        if outcome.violations:
            tally.failed[seed] = outcome.violations
    tally.cpu_seconds = time.process_time() - began
    return tally


def run_seeds(seeds: range, jobs: int, mutant: str | None, told: Callable[[Tally], None]) -> Tally:
    """All of them; `told` hears of every chunk, with what they add up to so far."""
    total = Tally()
    chunks = [seeds[at : at + _CHUNK] for at in range(0, len(seeds), _CHUNK)]
    if jobs == 1:
        for chunk in chunks:
            total.add(run_chunk(chunk, mutant))
            told(total)
        return total
    with ProcessPoolExecutor(jobs) as pool:
        for tally in pool.map(run_chunk, chunks, [mutant] * len(chunks)):
            total.add(tally)
            told(total)
    return total

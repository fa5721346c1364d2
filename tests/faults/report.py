"""The counts of a run of `make faults`, as the Markdown of docs/maintainers/faults.md."""

from __future__ import annotations

import os
import subprocess
import textwrap
from collections import Counter
from collections.abc import Collection, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from tests.faults.tally import Fault, Tally

_CHECKOUT = Path(__file__).parents[2]
_WIDTH = 120
_HEADS = ("test", "faults", "sagas", "ended", "events", "effects", "violations", "outcome")


def commit() -> str:
    """What is tested: the commit that is checked out, and whether it was changed since."""
    head = _git("rev-parse", "--short", "HEAD")
    return f"{head} with changes" if _git("status", "--porcelain") else head


def _git(*arguments: str) -> str:
    done = subprocess.run(
        ["git", *arguments], cwd=_CHECKOUT, capture_output=True, text=True, check=False
    )
    return done.stdout.strip() if done.returncode == 0 else "unknown"


@dataclass(slots=True)
class Run:
    """Some tests of this folder, run together."""

    seed: int
    #: As it was when the run began: somebody may commit meanwhile.
    commit: str = field(default_factory=commit)
    rows: list[Tally] = field(default_factory=list[Tally])
    #: The machine's load after each test.
    loads: list[float] = field(default_factory=list[float])

    def report(self, outcomes: Mapping[str, int], reasons: Collection[str]) -> list[str]:
        """`outcomes`: passed, failed, ... -> how many tests; `reasons`: why tests were skipped."""
        load = f", load {min(self.loads):.0f} to {max(self.loads):.0f}" if self.loads else ""
        told = ", ".join(f"{count} {outcome}" for outcome, count in sorted(outcomes.items()))
        where = (
            f"Commit {self.commit}, seed {self.seed}, {os.cpu_count()} processors{load}: {told}."
        )
        return [
            *textwrap.wrap(f"{where} {self._ends()}", _WIDTH),
            *(f"Skipped: {reason}." for reason in sorted(reasons)),
            "",
            *_table(("kind of fault", "how often"), self._kinds()),
            "",
            *_table(_HEADS, [_cells(row) for row in self.rows]),
        ]

    def _ends(self) -> str:
        ends = sum((row.ends for row in self.rows), Counter[str]())
        sagas = " and ".join(f"{count:,} {end}" for end, count in sorted(ends.items()))
        return (
            f"{ends.total():,} sagas, of which {sagas}, {sum(row.events for row in self.rows):,} events,"
            f" {sum(row.effects for row in self.rows):,} effects,"
            f" {sum(row.violations for row in self.rows):,} violations."
        )

    def _kinds(self) -> list[tuple[str, str]]:
        """Kinds differ too much in weight for a sum of all to mean anything."""
        counts: Counter[Fault] = Counter()
        for row in self.rows:
            for (fault, _), count in row.faults.items():
                counts[fault] += count
        return [(str(fault), f"{counts[fault]:,}") for fault in Fault if counts[fault]]


def _cells(row: Tally) -> tuple[str, ...]:
    faults = [f"{count} {fault} {what}" for (fault, what), count in sorted(row.faults.items())]
    ends = [f"{count} {end}" for end, count in sorted(row.ends.items())]
    return (
        row.test,
        ", ".join(faults) or "none",
        str(row.ends.total()),
        ", ".join(ends) or "none",
        str(row.events),
        str(row.effects),
        str(row.violations),
        row.outcome,
    )


def _table(heads: Sequence[str], rows: Sequence[Sequence[str]]) -> list[str]:
    lines = [heads, ["---"] * len(heads), *rows]
    return [f"| {' | '.join(cells)} |" for cells in lines]

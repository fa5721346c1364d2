"""What was done to the system and what came of it, counted for the table of `make faults`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterable
from dataclasses import dataclass, field


@dataclass(slots=True)
class Tally:
    """The row of one test."""

    test: str
    #: Sort of fault -> how often.
    faults: Counter[str] = field(default_factory=Counter[str])
    #: End -> how many sagas.
    ends: Counter[str] = field(default_factory=Counter[str])
    events: int = 0
    #: Lines of the warehouse's journal.
    effects: int = 0
    violations: int = 0
    #: `passed`, `failed` or `skipped`.
    outcome: str = "failed"

    def fault(self, sort: str, count: int = 1) -> None:
        """One more of a sort."""
        self.faults[sort] += count


_HEADS = ("test", "faults", "sagas", "ended", "events", "effects", "violations", "outcome")


def table(rows: Iterable[Tally]) -> list[str]:
    """The rows and their sum, as lines of a Markdown table."""
    rows = list(rows)
    total = Tally("all", outcome="")
    for row in rows:
        total.faults += row.faults
        total.ends += row.ends
        total.events += row.events
        total.effects += row.effects
        total.violations += row.violations
    lines = [_HEADS, tuple("---" for _ in _HEADS), *map(_cells, [*rows, total])]
    return [f"| {' | '.join(cells)} |" for cells in lines]


def _cells(row: Tally) -> tuple[str, ...]:
    return (
        row.test,
        _counts(row.faults),
        str(row.ends.total()),
        _counts(row.ends),
        str(row.events),
        str(row.effects),
        str(row.violations),
        row.outcome,
    )


def _counts(counter: Counter[str]) -> str:
    return ", ".join(f"{count} {name}" for name, count in sorted(counter.items())) or "none"

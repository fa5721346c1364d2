"""What a hunt writes: the seeds of the mutants, and their table in docs/maintainers/simulation.md."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path

from tests.simulation.mutants import MUTANTS
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.symptoms import shown

PAGE = Path(__file__).parents[3] / "docs" / "maintainers" / "simulation.md"
_SEEDS = Path(__file__).parent / "seeds.py"
HEADER = (
    "| rule | mutant | what is switched off | seeds | what the first one says | its trace, shrunk |"
)
_COLUMNS = HEADER.count("|")
_SAYS_MAX = 200


def row(mutant: Mutant, seeds: Sequence[int], says: str) -> str:
    """A mutant's line of the table."""
    told = shown(says).replace("|", "\\|")
    if len(told) > _SAYS_MAX:
        told = f"{told[:_SAYS_MAX]}..."
    command = (
        f".venv/bin/python -m tests.simulation"
        f" --seed {seeds[0]} --mutant {mutant.name} --shrink --trace"
    )
    rule = str(mutant.rule) if mutant.rule else "core"
    listed = ", ".join(map(str, seeds))
    return f"| {rule} | `{mutant.name}` | {mutant.what} | {listed} | {told} | `{command}` |"


def rows_of(page: str) -> dict[str, str]:
    """Mutant -> its line, in the order of the page."""
    return {
        line.split("|")[2].strip(" `"): line
        for line in _table(page.splitlines())
        if line.count("|") >= _COLUMNS
    }


def _table(lines: Sequence[str]) -> Sequence[str]:
    """The lines under the header."""
    first = lines.index(HEADER) + 2
    end = next(at for at in range(first, len(lines)) if not lines[at].startswith("|"))
    return lines[first:end]


def write_rows(rows: Mapping[str, str]) -> None:
    """Replace these lines; those of mutants that are no more go."""
    page = PAGE.read_text()
    lines = page.splitlines()
    known = {**rows_of(page), **rows}
    first = lines.index(HEADER) + 2
    table = [known[mutant.name] for mutant in MUTANTS if mutant.name in known]
    lines[first : first + len(_table(lines))] = table
    PAGE.write_text("\n".join(lines) + "\n")


def write_seeds(seeds: Mapping[str, Sequence[int]]) -> None:
    """The module beside this one, written anew."""
    lines = [
        f'    "{mutant.name}": ({", ".join(map(str, seeds[mutant.name]))}{_comma(seeds[mutant.name])}),'
        for mutant in MUTANTS
        if mutant.name in seeds
    ]
    head = (
        '"""Seeds that find each mutant, the first of them first; `python -m tests.simulation.hunt` writes them."""\n'
        "\nfrom __future__ import annotations\n\n"
        "SEEDS: dict[str, tuple[int, ...]] = {\n"
    )
    _SEEDS.write_text(head + "\n".join(lines) + "\n}\n")


def _comma(seeds: Sequence[int]) -> str:
    return "," if len(seeds) == 1 else ""

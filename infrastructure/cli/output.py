"""Output of commands on stdout: JSON for programs, tables for people."""

from __future__ import annotations

import os
import sys
from collections.abc import Collection, Iterable, Mapping, Sequence
from typing import Any, cast

import typer
from rich.cells import cell_len
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infrastructure.cli.options import Form
from infrastructure.printable import json_text, printable, printable_lines

#: The least width of a column of free text.
_FOLDED_MIN = 20
_GAP = 2

_COLOURS = {
    "COMPLETED": "green",
    "EXECUTING": "cyan",
    "COMPENSATING": "yellow",
    "COMPENSATED": "yellow",
    "FAILED": "red",
    "CANCELLED": "magenta",
}


def write_json(document: Any) -> None:
    typer.echo(json_text(document, indent=2))


def write_table(
    columns: Sequence[str],
    rows: Iterable[Sequence[Any]],
    *,
    folded: Collection[str] = (),
    spare: Sequence[str] = (),
) -> None:
    """One line per row. At a terminal, the table fits its width.

    `folded` columns hold free text and may wrap; all others stay whole. `spare` columns are omitted, in order, if the
    others do not fit. In a file or a pipe, every row is one line with all columns.
    """
    cells = [[_cell(value) for value in row] for row in rows]
    widths = {
        title: max(cell_len(title), *(cell_len(row[place].plain) for row in cells), 0)
        for place, title in enumerate(columns)
    }
    screen = console()
    shown = list(columns)
    if screen.is_terminal:
        least = {
            title: min(width, _FOLDED_MIN) if title in folded else width
            for title, width in widths.items()
        }
        left_out = _left_out(least, spare, screen.width)
        shown = [title for title in columns if title not in left_out]
        if left_out:
            note(f"no room here for {', '.join(left_out)}: widen the terminal, or use -o json")
        screen.width = max(screen.width, _total(least[title] for title in shown))
    else:
        screen.width = _total(widths.values())
    table = Table(box=None, pad_edge=False, header_style="bold")
    for title in shown:
        table.add_column(title, overflow="fold", no_wrap=title not in folded)
    for row in cells:
        table.add_row(*(row[columns.index(title)] for title in shown))
    screen.print(table)


def _left_out(widths: Mapping[str, int], spare: Sequence[str], room: int) -> list[str]:
    left_out: list[str] = []
    for title in spare:
        if _total(width for name, width in widths.items() if name not in left_out) <= room:
            break
        left_out.append(title)
    return left_out


def _total(widths: Iterable[int]) -> int:
    return sum(width + _GAP for width in widths) - _GAP


def write_fields(fields: Mapping[str, Any]) -> None:
    """One field in a line; those without a value are left out."""
    rows = {name: value for name, value in fields.items() if value not in (None, "", [], {})}
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold", no_wrap=True)
    table.add_column(overflow="fold")
    cells = {name: _cell(value) for name, value in rows.items()}
    for name, cell in cells.items():
        table.add_row(name, cell)
    screen = console()
    if not screen.is_terminal:
        name_width = max(map(cell_len, cells), default=0)
        screen.width = (
            name_width + _GAP + max((cell_len(c.plain) for c in cells.values()), default=1)
        )
    screen.print(table)


def write(form: Form, document: Any, fields: Mapping[str, Any]) -> None:
    """The document as JSON, or a readable view of it."""
    if form is Form.JSON:
        write_json(document)
    else:
        write_fields(fields)


def note(text: str) -> None:
    """Write additional information to stderr."""
    typer.echo(printable_lines(text), err=True)


def console(*, stderr: bool = False) -> Console:
    """A console without escape sequences where colours are unwanted (https://no-color.org)."""
    colours = None if os.environ.get("NO_COLOR") else "auto"
    return Console(stderr=stderr, color_system=colours, highlight=False, markup=False)


def errors_at_terminal() -> bool:
    return sys.stderr.isatty()


def _cell(value: Any) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, dict | list):
        return Text(json_text(cast(object, value)))
    text = printable(str(value))
    return Text(text, style=_COLOURS.get(text, ""))

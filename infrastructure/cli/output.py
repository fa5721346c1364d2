"""What commands write: JSON for programs, tables for people, both on stdout."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any

import typer
from rich.console import Console
from rich.table import Table
from rich.text import Text

from infrastructure.cli.options import Form

#: Lines of a table that goes into a file or a pipe are not cut at the width of a terminal.
_WIDTH_ELSEWHERE = 240

_COLOURS = {
    "COMPLETED": "green",
    "EXECUTING": "cyan",
    "COMPENSATING": "yellow",
    "COMPENSATED": "yellow",
    "FAILED": "red",
    "CANCELLED": "magenta",
}


def write_json(document: Any) -> None:
    typer.echo(json.dumps(document, indent=2, ensure_ascii=False))


def write_table(columns: Sequence[str], rows: Iterable[Sequence[Any]]) -> None:
    table = Table(box=None, pad_edge=False, header_style="bold")
    for column in columns:
        table.add_column(column, overflow="fold")
    for row in rows:
        table.add_row(*(_cell(value) for value in row))
    console().print(table)


def write_fields(fields: Mapping[str, Any]) -> None:
    """One field in a line; those without a value are left out."""
    table = Table(box=None, pad_edge=False, show_header=False)
    table.add_column(style="bold")
    table.add_column(overflow="fold")
    for name, value in fields.items():
        if value not in (None, "", [], {}):
            table.add_row(name, _cell(value))
    console().print(table)


def write(form: Form, document: Any, fields: Mapping[str, Any]) -> None:
    """The document, or what people want to see of it."""
    if form is Form.JSON:
        write_json(document)
    else:
        write_fields(fields)


def note(sentence: str) -> None:
    """Something to know besides the answer: on stderr."""
    typer.echo(sentence, err=True)


def console() -> Console:
    return Console(width=None if sys.stdout.isatty() else _WIDTH_ELSEWHERE, highlight=False)


def _cell(value: Any) -> Text:
    if value is None:
        return Text("")
    if isinstance(value, dict | list):
        return Text(json.dumps(value, ensure_ascii=False))
    text = str(value)
    return Text(text, style=_COLOURS.get(text, ""))

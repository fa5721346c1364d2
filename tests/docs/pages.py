"""Reading the documentation: snippets that are marked to be run, and rows of tables."""

from __future__ import annotations

import re
from pathlib import Path

ROOT = Path(__file__).parents[2]

_SNIPPET = re.compile(r"<!-- run: (\w+) -->\n```(\w+)\n(.*?)```", re.DOTALL)
_SAVED = re.compile(r"<!-- save: (\S+) -->\n```\w+\n(.*?)```", re.DOTALL)
_CODE = re.compile(r"`([^`]+)`")


def page(name: str) -> str:
    return (ROOT / name).read_text(encoding="utf-8")


def snippets(name: str, mark: str) -> list[str]:
    """The blocks of a page under `<!-- run: mark -->`, in order."""
    return [code for found, _, code in _SNIPPET.findall(page(name)) if found == mark]


def saved_files(name: str) -> dict[str, str]:
    """The files that a reader of the page saves: the blocks under `<!-- save: name -->`."""
    return dict(_SAVED.findall(page(name)))


def section(text: str, heading: str) -> str:
    """What stands below a heading, up to the next one of its level or above."""
    level = len(heading) - len(heading.lstrip("#"))
    _, _, after = text.partition(f"\n{heading}\n")
    assert after, f"there is no heading '{heading}'"
    return re.split(rf"^#{{1,{level}}} ", after, maxsplit=1, flags=re.MULTILINE)[0]


def rows(text: str) -> list[list[str]]:
    """The cells of every row of the tables, without heads."""
    found: list[list[str]] = []
    lines = text.splitlines()
    for place, line in enumerate(lines):
        is_row = line.startswith("|") and not line.startswith(("|---", "| ---"))
        is_head = place + 1 < len(lines) and lines[place + 1].startswith("|---")
        if is_row and not is_head:
            found.append([cell.strip() for cell in line.strip("|").split("|")])
    return found


def code_in(cell: str) -> list[str]:
    """The words in a cell that are set as code."""
    return _CODE.findall(cell)


def first_code(cell: str) -> str:
    words = code_in(cell)
    return words[0] if words else ""

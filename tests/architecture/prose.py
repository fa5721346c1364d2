"""What people read: the prose of pages without code, and the docstrings, texts and comments of the source."""

from __future__ import annotations

import ast
import io
import re
import tokenize
from collections.abc import Iterator
from pathlib import Path

from tests.architecture.repository import SOURCE, name_of, python_files, syntax, texts

#: Decisions stay in the words of their day, and the mutants' rows are written by the simulator's hunt.
_KEPT_PAGES = re.compile(r"docs/adr/\d+")
_MUTANT_ROW = re.compile(r"^\|.*tests\.simulation --seed.*\|$", re.MULTILINE)
_CODE = re.compile(r"^```.*?^```$|^    .*$|`[^`\n]*`", re.DOTALL | re.MULTILINE)

#: Line and text.
Passage = tuple[int, str]


def passages() -> Iterator[tuple[str, Passage]]:
    """Every piece of prose with its file."""
    for name, text in texts():
        if name.endswith(".md") and not _KEPT_PAGES.match(name):
            yield name, (1, _without_code(text))
    for file in python_files(*SOURCE):
        for passage in (*_texts(syntax(file)), *_comments(file)):
            yield name_of(file), passage


def _without_code(text: str) -> str:
    """The page with blanks for what is not prose: every line keeps its number."""
    text = _MUTANT_ROW.sub("", text)
    return _CODE.sub(lambda code: "\n" * code[0].count("\n") or " ", text)


def _texts(module: ast.Module) -> Iterator[Passage]:
    """Docstrings, messages and help texts: every string of more than one word."""
    for node in ast.walk(module):
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and " " in node.value:
            yield node.lineno, node.value


def _comments(file: Path) -> Iterator[Passage]:
    """Lines of comments, those that follow each other as one."""
    first, lines = 0, list[str]()
    for token in tokenize.generate_tokens(io.StringIO(file.read_text(encoding="utf-8")).readline):
        if token.type != tokenize.COMMENT:
            continue
        if lines and token.start[0] == first + len(lines):
            lines.append(token.string.lstrip("#: "))
            continue
        if lines:
            yield first, "\n".join(lines)
        first, lines = token.start[0], [token.string.lstrip("#: ")]
    if lines:
        yield first, "\n".join(lines)

"""The page on tests names commands, folders, tests and words that there are."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

from tests.docs.pages import ROOT, code_in, first_code, page, rows, section

PAGE = page("docs/maintainers/testing.md")
TESTS = ROOT / "tests"


def names_in(file: Path) -> Iterator[str]:
    """What `pytest -k` sees of a file: its own name, and those of its classes and tests."""
    yield file.name
    for node in ast.walk(ast.parse(file.read_text(encoding="utf-8"))):
        if isinstance(node, ast.ClassDef | ast.FunctionDef | ast.AsyncFunctionDef):
            name = node.name
            if name.startswith(("test_", "Test")):
                yield name


def test_every_command_is_a_target() -> None:
    """Every `make` command of the page is in the Makefile, and not taken for a file."""
    makefile = page("Makefile")
    targets = set(re.findall(r"^([a-z-]+):", makefile, re.MULTILINE))
    phony = re.search(r"^\.PHONY: ((?:.*\\\n)*.*)", makefile, re.MULTILINE)
    named = set(re.findall(r"`make ([a-z-]+)", PAGE))

    assert {"test", "unit", "integration"} <= named
    assert named <= targets
    assert phony
    assert targets == set(phony[1].replace("\\\n", " ").split())


def test_every_folder_of_tests_is_listed() -> None:
    """Each folder has its row, and no other has."""
    folders = {file.parent.name for file in TESTS.glob("*/test_*.py")}
    # These have theirs further down, or hold suites for others.
    folders |= {"adapters", "contracts"}

    listed = {first_code(cells[0]) for cells in rows(section(PAGE, "## Layout"))}

    assert listed == {f"tests/{folder}" for folder in folders}


@pytest.mark.parametrize(
    "word", [first_code(cells[0]) for cells in rows(section(PAGE, "## Names"))]
)
def test_words_select_tests(word: str) -> None:
    """`pytest -k` finds tests for each word."""
    found = [name for file in TESTS.rglob("test_*.py") for name in names_in(file) if word in name]

    assert found


@pytest.mark.parametrize("title", ["## Bad input", "## What the requirements ask for"])
def test_every_row_names_tests_that_exist(title: str) -> None:
    """A row names files, and tests in them, or a target."""
    table = rows(section(PAGE, title))
    named = [code for cells in table for code in code_in(cells[2])]

    missing = [
        test
        for test in named
        if test.startswith("tests/") and not exists(*test.split("::", maxsplit=1))
    ]

    assert missing == []
    assert all(code_in(cells[2]) for cells in table)


def exists(file: str, name: str | None = None) -> bool:
    path = ROOT / file
    return path.is_file() and (name is None or name in names_in(path))

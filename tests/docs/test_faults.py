"""The page on real faults tells of every test, and of none that is gone."""

from __future__ import annotations

import ast
import re

from tests.docs.pages import ROOT, first_code, page, rows, section

#: What tests the tests.
_OF_THE_CHECKS = "test_checks.py"


def test_every_test_has_its_row() -> None:
    """A row says what is done, what it shows and what it does not."""
    folder = ROOT / "tests" / "faults"
    exist = {
        node.name
        for file in folder.glob("test_*.py")
        if file.name != _OF_THE_CHECKS
        for node in ast.parse(file.read_text(encoding="utf-8")).body
        if isinstance(node, ast.FunctionDef) and node.name.startswith("test_")
    }

    table = rows(section(page("docs/maintainers/faults.md"), "## Tests"))
    listed = {re.sub(r"\[.*", "", first_code(cells[0])) for cells in table}

    assert listed == exist
    assert all(cells[1] and cells[2] for cells in table)

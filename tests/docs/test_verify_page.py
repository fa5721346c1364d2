"""The page on `conveyor verify` lists the findings of the program."""

from __future__ import annotations

from application.verification.findings import Kind
from tests.docs.pages import first_code, page, rows, section


def test_every_finding_is_listed_with_its_advice() -> None:
    """Each kind has its row, and says what the program says."""
    listed = {
        first_code(cells[0]): cells[2]
        for cells in rows(section(page("docs/operations/verify.md"), "## Findings"))
    }

    assert listed == {kind.value: kind.advice for kind in Kind}

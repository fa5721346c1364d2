"""The page on `conveyor verify` has what the program tells."""

from __future__ import annotations

from application.verification.findings import Kind
from tests.docs.pages import first_code, page, rows


def test_every_finding_is_listed_with_its_advice() -> None:
    """Each kind has its row, and says what the program says."""
    listed = {first_code(cells[0]): cells[2] for cells in rows(page("docs/operations/verify.md"))}

    assert listed == {kind.value: kind.advice for kind in Kind}

"""Decisions are numbered once and listed."""

from __future__ import annotations

import re

import pytest

from tests.architecture.repository import ROOT

FOLDER = ROOT / "docs" / "adr"
RECORDS = sorted(file for file in FOLDER.glob("*.md") if file.name != "README.md")


def number_of(name: str) -> int:
    match = re.fullmatch(r"(\d{4})-[a-z0-9-]+\.md", name)
    assert match, f"{name} is not called like 0001-what-it-says.md"
    return int(match[1])


def test_numbers_are_unique_and_without_a_gap() -> None:
    """Two decisions never have one number, and none is missing."""
    numbers = [number_of(file.name) for file in RECORDS]

    assert numbers == list(range(1, len(numbers) + 1))


def test_every_decision_is_listed_once() -> None:
    """The README has one line per decision, under its number."""
    rows = re.findall(
        r"^\| (\d+) \| \[[^\]]+\]\(([^)]+)\) \|", (FOLDER / "README.md").read_text(), re.MULTILINE
    )

    assert rows == [(str(number_of(file.name)), file.name) for file in RECORDS]


@pytest.mark.parametrize("name", [file.name for file in RECORDS])
def test_a_decision_has_its_three_parts(name: str) -> None:
    """The title begins with the number; context, decision and consequences follow."""
    text = (FOLDER / name).read_text()

    assert text.startswith(f"# {number_of(name)}. ")
    assert re.findall(r"^## (.+)$", text, re.MULTILINE) == ["Context", "Decision", "Consequences"]

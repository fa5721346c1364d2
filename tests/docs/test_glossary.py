"""The glossary has every word of the documentation: terms, states, events and codes."""

from __future__ import annotations

import re
from collections.abc import Mapping

import pytest

from domain.aggregate.rejection import RejectionCode
from domain.definition.compensation import CompensationStrategy
from domain.definition.faults import Rule
from domain.workflow.failure import ErrorType
from domain.workflow.incident import INCIDENT_CODES
from domain.workflow.status import StepStatus, WorkflowStatus
from tests.docs.pages import ROOT, code_in, first_code, page, rows, section

PAGE = page("docs/glossary.md")
#: Kind -> the words and the link of its row.
CODES = {kind: (code_in(words), link) for kind, words, link in rows(section(PAGE, "## Codes"))}
LISTED = {word for words, _ in CODES.values() for word in words}
#: Names in capitals that are not states or codes: settings, and the values of settings.
_SETTING = re.compile(r"(?:CONVEYOR|NO|SASL|TEST)_")
_FENCED = re.compile(r"^```.*?^```|^    .*$", re.DOTALL | re.MULTILINE)
_CAPITALS = re.compile(r"(?<![\w./-])[A-Z]+(?:_[A-Z]+)+(?![\w/-])")

_MESSAGES = page("docs/reference/messages.md")
_ERRORS = rows(section(_MESSAGES, "### Errors of a step"))
_DEAD_LETTERS = rows(section(_MESSAGES, "## Dead letters"))
ENUMS: Mapping[str, set[str]] = {
    "state of a workflow": set(WorkflowStatus),
    "state of a step": set(StepStatus),
    "refusal of a command": set(RejectionCode),
    "fault of a definition": set(Rule),
    "strategy of a compensation": set(CompensationStrategy),
    "incident": set(INCIDENT_CODES),
    "error of a step": {first_code(cells[0]) for cells in _ERRORS},
    "reason of a dead letter": {first_code(cells[0]) for cells in _DEAD_LETTERS},
    "type of an error": {value for name, value in vars(ErrorType).items() if name.isupper()},
}


def test_the_words_are_in_order() -> None:
    """Terms are found by the alphabet, and each is explained."""
    terms = re.findall(r"^### (.+)$", PAGE, re.MULTILINE)

    assert terms == sorted(terms, key=str.casefold)
    assert all(section(PAGE, f"### {term}").strip() for term in terms)


def test_every_event_is_explained() -> None:
    """The names are those of the reference of messages, in its order."""
    reference = rows(section(page("docs/reference/messages.md"), "## Events"))
    explained = rows(section(PAGE, "## Events"))

    assert [first_code(cells[0]) for cells in explained] == [
        first_code(cells[0]).removeprefix("orchestration.") for cells in reference
    ]
    assert all(meaning.endswith(".") for _, meaning in explained)


@pytest.mark.parametrize("kind", ENUMS)
def test_codes_are_those_of_the_code(kind: str) -> None:
    """A row has each word of its kind once, in the order of the alphabet."""
    words, _ = CODES[kind]

    assert words == sorted(ENUMS[kind])


@pytest.mark.parametrize("kind", CODES)
def test_each_code_is_explained_where_the_row_says(kind: str) -> None:
    """The linked section has every word of the row."""
    words, link = CODES[kind]
    target = re.search(r"\((\S+?\.md)(?:#(\S+))?\)", link)
    assert target
    text = page(f"docs/{target[1]}")
    if target[2]:
        headings = re.findall(r"^#+ .+$", text, re.MULTILINE)
        [heading] = [each for each in headings if anchor(each) == target[2]]
        text = section(text, heading)

    assert [word for word in words if not re.search(rf"\b{word}\b", text)] == []


def test_every_code_of_the_docs_is_listed() -> None:
    """No page for users names a code that the glossary does not have."""
    pages = [ROOT / "README.md", ROOT / "sdk/README.md", *(ROOT / "docs").glob("*.md")]
    pages += [
        file
        for part in ("howto", "operations", "reference")
        for file in (ROOT / "docs" / part).glob("*.md")
    ]

    unlisted = {
        f"{file.relative_to(ROOT)}: {word}"
        for file in pages
        for word in _CAPITALS.findall(_FENCED.sub("", file.read_text(encoding="utf-8")))
        if word not in LISTED and not _SETTING.match(word)
    }

    assert unlisted == set()


def anchor(heading: str) -> str:
    words = re.sub(r"[^\w\- ]", "", heading.lstrip("# ").lower())
    return words.replace(" ", "-")

"""Diagrams and tables of states are those of the code."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any

import pytest

from domain.workflow.status import STEP_TRANSITIONS, WORKFLOW_TRANSITIONS
from tests.docs.pages import page, rows, section

PAGE = page("docs/concepts.md")
DIAGRAMS: Mapping[str, Mapping[Any, frozenset[Any]]] = {
    "workflow": WORKFLOW_TRANSITIONS,
    "step": STEP_TRANSITIONS,
}


@pytest.mark.parametrize("name", DIAGRAMS)
def test_diagrams_have_every_transition(name: str) -> None:
    """An arrow for each transition, and none that the code does not have."""
    drawn = re.search(rf"<!-- states: {name} -->\n```mermaid\n(.*?)```", PAGE, re.DOTALL)
    assert drawn

    arrows = re.findall(r"(\w+) --> (\w+)", drawn[1])

    assert sorted(arrows) == sorted(
        (str(before), str(after)) for before, all_ in DIAGRAMS[name].items() for after in all_
    )


def test_every_state_of_a_workflow_is_explained() -> None:
    """The table has each state once."""
    explained = [cells[0] for cells in rows(section(PAGE, "## States"))]

    assert explained == [status.value for status in WORKFLOW_TRANSITIONS]

"""Histories that were written once must be read for ever, to the same states.

A file of `golden/` that was released is never overwritten: a saga that goes another way gets a new file.
Files are written by `UPDATE_GOLDEN=1 pytest tests/domain/test_golden.py`.
"""

from __future__ import annotations

import json
import os
from typing import Any

import pytest

from domain.workflow.events import WORKFLOW_EVENTS
from domain.workflow.evolve import evolve
from domain.workflow.instance import WorkflowInstance
from tests.domain.goldens import FOLDER, SAGAS, changes, read, written

#: Written before open incidents were part of the state.
WITHOUT_INCIDENTS = ("cancelled", "retried")


def lines_of(name: str) -> list[str]:
    return (FOLDER / f"{name}.jsonl").read_text(encoding="utf-8").splitlines()


def kept() -> list[str]:
    """The names of all golden files, of sagas that go another way by now as well."""
    return sorted(file.stem for file in FOLDER.glob("*.jsonl"))


@pytest.mark.parametrize("name", SAGAS)
def test_history_is_written_as_before(name: str) -> None:
    """The same messages lead to the same events, byte for byte, and to the same changes."""
    now = written(SAGAS[name]())
    if os.environ.get("UPDATE_GOLDEN"):
        FOLDER.mkdir(exist_ok=True)
        (FOLDER / f"{name}.jsonl").write_text("\n".join(now) + "\n", encoding="utf-8")

    assert now == lines_of(name)


@pytest.mark.parametrize("name", kept())
def test_history_is_read_as_before(name: str) -> None:
    """Each stored event is understood and changes what it changed when it was written."""
    instance: WorkflowInstance | None = None
    for text in lines_of(name):
        line: dict[str, Any] = json.loads(text)

        after = evolve(instance, read(line), "wf-1")

        changed = changes(instance, after)
        if name in WITHOUT_INCIDENTS:
            changed.pop("incidents", None)
        assert changed == line["changes"]
        instance = after


def test_every_event_has_its_golden_copy() -> None:
    """No event is without a stored line."""
    stored = {json.loads(text)["type"] for name in kept() for text in lines_of(name)}

    assert stored == {event.TYPE for event in WORKFLOW_EVENTS}

"""Definition documents for tests: sound unless a test changes something."""

from __future__ import annotations

from typing import Any

from application.ports import Document

UNDO: Document = {"operation": "undo"}


def step(step_id: str, **fields: Any) -> Document:
    """A compensatable step of its own service; a field that is None is left out."""
    fields = {
        "id": step_id,
        "service": "a-service",
        "operation": "do",
        "compensation": UNDO,
        **fields,
    }
    return {name: value for name, value in fields.items() if value is not None}


def pivot(step_id: str, **fields: Any) -> Document:
    return step(step_id, kind="pivot", compensation=None, **fields)


def retriable(step_id: str, **fields: Any) -> Document:
    return step(step_id, **{"kind": "retriable", "compensation": None, **fields})


def read_only(step_id: str, **fields: Any) -> Document:
    return step(step_id, kind="read-only", compensation=None, **fields)


def document(*steps: Document, **fields: Any) -> Document:
    """Version 1 of `order` with these steps."""
    return {"name": "order", "version": 1, "type": "ORDER", "steps": list(steps), **fields}

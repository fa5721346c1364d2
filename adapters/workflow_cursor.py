"""The opaque cursor of the list of workflows: where the last page ended."""

from __future__ import annotations

import base64
from typing import Any, NamedTuple

import orjson

from application.ports import Document


class Place(NamedTuple):
    """The sort key of a workflow in the list; one that has not started sorts before all others."""

    started_at: str | None
    workflow_id: str


def cursor_after(document: Document) -> str:
    """The cursor of the page that follows this document."""
    return encode_cursor(Place(document.get("startedAt"), document["_id"]))


def encode_cursor(place: Place) -> str:
    return base64.urlsafe_b64encode(orjson.dumps([*place])).decode().rstrip("=")


def decode_cursor(cursor: str) -> Place:
    """Raises ValueError for a text that `encode_cursor` did not make."""
    padded = cursor + "=" * (-len(cursor) % 4)
    try:
        place: Any = orjson.loads(base64.b64decode(padded, altchars=b"-_", validate=True))
        started_at, workflow_id = place
    except (ValueError, TypeError) as error:
        raise _foreign(cursor) from error
    if not isinstance(workflow_id, str) or not isinstance(started_at, str | None):
        raise _foreign(cursor)
    return Place(started_at, workflow_id)


def _foreign(cursor: str) -> ValueError:
    return ValueError(
        f"'{cursor}' is not a cursor of this list; take the page's nextCursor as it is"
    )

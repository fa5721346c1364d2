"""Entries of commits as documents (CONTRACT 1), as every store keeps them.

Stores differ only in how they hold the JSON of an event's data and of its sends: as part of their document, or as
text. Both forms can be read.
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import orjson

from application.ports import Document, Entry, RecordedEvent
from domain.aggregate.position import Position


def entry_to_document(entry: Entry, hold: Callable[[bytes], Any]) -> Document:
    """The entry as a document. `hold` converts encoded JSON to the form in which the store holds it."""
    cause = entry.cause
    document: Document = {
        "cause": {
            "topicId": cause.topic_id,
            "topic": cause.topic,
            "partition": cause.partition,
            "leaderEpoch": cause.leader_epoch,
            "offset": cause.offset,
        },
        "messageId": entry.message_id,
        "events": [_event_to_document(event, hold) for event in entry.events],
    }
    if entry.primary is not None:
        document["primary"] = entry.primary
    return document


def entry_from_document(document: Document) -> Entry:
    """The entry that was stored. Raises `LookupError`, `TypeError` or `ValueError` for a damaged one."""
    cause: Document = document["cause"]
    return Entry(
        Position(
            cause["topicId"],
            cause["topic"],
            cause["partition"],
            cause["leaderEpoch"],
            cause["offset"],
        ),
        document["messageId"],
        tuple([_event_from_document(event) for event in document["events"]]),
        document.get("primary"),
    )


def _event_to_document(event: RecordedEvent, hold: Callable[[bytes], Any]) -> Document:
    document: Document = {"type": event.type, "data": hold(event.json)}
    if event.kind is not None:
        document["kind"] = event.kind
    if event.sends:
        document["sends"] = hold(orjson.dumps(event.sends))
    return document


def _event_from_document(document: Document) -> RecordedEvent:
    # Schema version 1 of MongoDB nested the data, and kept what BSON cannot hold as text in `json`.
    return RecordedEvent(
        document["type"],
        _json(document["json"] if "json" in document else document["data"]),
        document.get("kind"),
        tuple(_parsed(document["sends"])) if "sends" in document else (),
    )


def _json(held: Any) -> bytes:
    return held.encode() if isinstance(held, str) else orjson.dumps(held)


def _parsed(held: Any) -> Any:
    return orjson.loads(held) if isinstance(held, str) else held

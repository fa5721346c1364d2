"""Commits as documents of `workflow_events`."""

from __future__ import annotations

from typing import Any

import bson
import orjson

from adapters.mongodb.json_in_bson import EncodedDocument, encode_plain, is_plain, to_text
from application.ports import Commit, Document, Entry, RecordedEvent
from domain.aggregate.position import Position


def to_stored(commit: Commit) -> EncodedDocument:
    """The document of a commit; data that BSON cannot hold is a text, `json` instead of `data`."""
    document: Document = {
        "_id": commit.id,
        "workflowId": commit.workflow_id,
        "firstVersion": commit.first_version,
        "lastVersion": commit.last_version,
        "partition": commit.partition,
        "entries": [_entry(entry) for entry in commit.entries],
    }
    plain = encode_plain(document)
    return _with_text(document) if plain is None else plain


def from_stored(document: Document) -> Commit:
    return Commit(
        document["workflowId"],
        document["firstVersion"],
        document["partition"],
        tuple([entry_from_stored(entry) for entry in document["entries"]]),
    )


def entry_from_stored(entry: Document) -> Entry:
    cause: dict[str, Any] = entry["cause"]
    return Entry(
        Position(
            cause["topicId"],
            cause["topic"],
            cause["partition"],
            cause["leaderEpoch"],
            cause["offset"],
        ),
        entry["messageId"],
        tuple([_event_from_stored(event) for event in entry["events"]]),
    )


def _entry(entry: Entry) -> Document:
    cause = entry.cause
    return {
        "cause": {
            "topicId": cause.topic_id,
            "topic": cause.topic,
            "partition": cause.partition,
            "leaderEpoch": cause.leader_epoch,
            "offset": cause.offset,
        },
        "messageId": entry.message_id,
        "events": [_event(event) for event in entry.events],
    }


def _event(event: RecordedEvent) -> Document:
    if event.kind is None:
        return {"type": event.type, "data": event.data}
    return {"type": event.type, "data": event.data, "kind": event.kind}


def _event_from_stored(event: Document) -> RecordedEvent:
    data = event["data"] if "data" in event else orjson.loads(event["json"])
    return RecordedEvent(event["type"], data, event.get("kind"))


def _with_text(document: Document) -> EncodedDocument:
    for entry in document["entries"]:
        for event in entry["events"]:
            if not is_plain(event["data"]):
                event["json"] = to_text(event.pop("data"))
    return EncodedDocument(bson.encode(document))

"""Commits as documents of `workflow_events`.

The data of an event and its sends are stored as JSON text: it is already encoded, and the server need not parse it
(ADR 21). What operators query has fields of its own: version, type, kind and time.
"""

from __future__ import annotations

import bson

from adapters.mongodb.json_in_bson import EncodedDocument
from application.codec.commits import entry_from_document, entry_to_document
from application.ports import Commit, Document, Entry


def to_stored(commit: Commit) -> EncodedDocument:
    """The document of a commit."""
    document: Document = {
        "_id": commit.id,
        "workflowId": commit.aggregate_id,
        "firstVersion": commit.first_version,
        "lastVersion": commit.last_version,
        "partition": commit.partition,
        "entries": [_entry(entry) for entry in commit.entries],
    }
    return EncodedDocument(bson.encode(document))


def from_stored(document: Document) -> Commit:
    return Commit(
        document["workflowId"],
        document["firstVersion"],
        document["partition"],
        tuple([entry_from_document(entry) for entry in document["entries"]]),
    )


def _entry(entry: Entry) -> Document:
    document = entry_to_document(entry, bytes.decode)
    for stored, event in zip(document["events"], entry.events, strict=True):
        head = event.head
        stored["occurredAt"] = head.occurred_at
        if head.version is not None:
            stored["version"] = head.version
    return document

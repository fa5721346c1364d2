"""Commits as documents of `workflow_events`."""

from __future__ import annotations

from collections.abc import Sequence

import bson

from adapters.mongodb.json_in_bson import EncodedDocument, encode_plain, is_plain, to_text
from application.codec.commits import entry_from_document, entry_to_document
from application.ports import Commit, Document, RecordedEvent


def to_stored(commit: Commit) -> EncodedDocument:
    """The document of a commit; what BSON cannot hold is JSON text instead."""
    document: Document = {
        "_id": commit.id,
        "workflowId": commit.workflow_id,
        "firstVersion": commit.first_version,
        "lastVersion": commit.last_version,
        "partition": commit.partition,
        "entries": [entry_to_document(entry, _data, _sends) for entry in commit.entries],
    }
    plain = encode_plain(document)
    return _with_text(document) if plain is None else plain


def from_stored(document: Document) -> Commit:
    return Commit(
        document["workflowId"],
        document["firstVersion"],
        document["partition"],
        tuple([entry_from_document(entry) for entry in document["entries"]]),
    )


def _data(event: RecordedEvent) -> Document:
    return event.data


def _sends(event: RecordedEvent) -> Sequence[Document]:
    return list(event.sends)


def _with_text(document: Document) -> EncodedDocument:
    for entry in document["entries"]:
        for event in entry["events"]:
            for name in ("data", "sends"):
                if not is_plain(event.get(name)):
                    event[name] = to_text(event[name])
    return EncodedDocument(bson.encode(document))

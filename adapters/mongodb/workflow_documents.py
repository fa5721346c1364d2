"""Projected states as documents of `workflows`: the state, and fields for the indexes."""

from __future__ import annotations

from adapters.mongodb.json_in_bson import EncodedDocument, decode, encode
from application.ports import Document

#: `["carrier:DHL", ...]`: keys of labels may contain dots, which no path into `labels` could name.
LABEL_PAIRS = "labelPairs"


def label_pair(key: str, value: str) -> str:
    return f"{key}:{value}"


def to_stored(document: Document) -> EncodedDocument:
    labels: dict[str, str] | None = document.get("labels")
    if not labels:
        return encode(document)
    pairs = [label_pair(key, value) for key, value in labels.items()]
    return encode({**document, LABEL_PAIRS: pairs})


def from_stored(stored: Document) -> Document:
    stored.pop(LABEL_PAIRS, None)
    return decode(stored)

"""Writes documents only over older ones, even with concurrent writers (PROTOCOL rule 12)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

from pymongo import InsertOne, ReplaceOne
from pymongo.errors import BulkWriteError

from adapters.mongodb.connection import Collection, reaching_the_store, refused_as_duplicates
from adapters.mongodb.json_in_bson import EncodedDocument
from application.ports import Document

_Operation = InsertOne[Any] | ReplaceOne[Any]


@dataclass(frozen=True, slots=True)
class GuardedWrite:
    """A document, and the filter that a stored one must match to be replaced by it."""

    over: Document
    document: EncodedDocument


async def write_guarded(
    collection: Collection, *, new: Sequence[GuardedWrite] = (), known: Sequence[GuardedWrite] = ()
) -> None:
    """Insert or replace each document, unless what is stored does not match its filter.

    Documents in `new` are probably not stored yet: a plain insert is half the work of an upsert. A wrong guess only
    costs time.
    """
    refused = [
        *await _bulk(collection, new, [InsertOne(write.document) for write in new]),
        *await _bulk(collection, known, [_replace(write, upsert=True) for write in known]),
    ]
    # A duplicate key shows that a document is stored, not that it is newer: of two concurrent upserts, the newer
    # one may be refused.
    await _bulk(collection, refused, [_replace(write, upsert=False) for write in refused])


def _replace(write: GuardedWrite, *, upsert: bool) -> ReplaceOne[Any]:
    return ReplaceOne(write.over, write.document, upsert=upsert)


async def _bulk(
    collection: Collection, writes: Sequence[GuardedWrite], operations: Sequence[_Operation]
) -> Sequence[GuardedWrite]:
    """The writes that met a duplicate key."""
    if operations:
        with reaching_the_store():
            try:
                await collection.bulk_write(operations, ordered=False)
            except BulkWriteError as error:
                return [writes[place] for place in refused_as_duplicates(error)]
    return []

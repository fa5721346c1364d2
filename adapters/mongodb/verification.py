"""Reads MongoDB for `conveyor verify`: in index order, page by page, on a live server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from pymongo import ASCENDING

from adapters.mongodb.commit_documents import from_stored as commit_from_stored
from adapters.mongodb.connection import Collection, Database, durable, reaching_the_store
from adapters.mongodb.workflow_documents import from_stored
from application.aggregates.aggregate import Catalog
from application.aggregates.catalog import CATALOG
from application.ports import Commit, Document, StoredCommit

_COMMITS_AT_ONCE = 1_000
_BY_VERSION = [("workflowId", ASCENDING), ("firstVersion", ASCENDING)]


class MongoStoreScan:
    """`StoreScan` on MongoDB."""

    def __init__(self, database: Database, catalog: Catalog = CATALOG) -> None:
        self._commits = durable(database, "workflow_events")
        #: Prefix and collection of each kind. The collection may have other documents as well.
        self._states = [
            (each.kind.prefix, durable(database, each.collection)) for each in catalog.aggregates
        ]

    async def projections(self, first: str, limit: int) -> Sequence[Document]:
        found = [
            document
            for prefix, collection in self._states
            for document in await _lowest(collection, _from(first, prefix), limit)
        ]
        return sorted(found, key=lambda document: document["_id"])[:limit]

    async def commits(self, first: str, last: str | None) -> AsyncIterator[StoredCommit]:
        ids: Document = {"$gte": first} if last is None else {"$gte": first, "$lte": last}
        page = await self._page({"workflowId": ids})
        while page:
            for document in page:
                yield _stored(document)
            workflow_id, version = page[-1]["workflowId"], page[-1].get("firstVersion")
            # The rest of that instance, then the instances behind it: each a range of the index.
            page = await self._page({"workflowId": workflow_id, "firstVersion": {"$gt": version}})
            if not page:
                ids.pop("$gte", None)
                page = await self._page({"workflowId": {**ids, "$gt": workflow_id}})

    async def _page(self, condition: Document) -> Sequence[Any]:
        with reaching_the_store():
            return await self._commits.find(
                condition, sort=_BY_VERSION, limit=_COMMITS_AT_ONCE, batch_size=_COMMITS_AT_ONCE
            ).to_list()


def _stored(document: Document) -> StoredCommit:
    try:
        commit = commit_from_stored(document)
    except (LookupError, TypeError, ValueError):
        commit = Commit(document["workflowId"], document.get("firstVersion") or 0, 0, ())
    return StoredCommit(str(document["_id"]), document.get("lastVersion") or 0, commit)


def _from(first: str, prefix: str) -> Document:
    """The ids from `first` on that begin with the prefix."""
    if not prefix:
        return {"$gte": first}
    return {"$gte": max(first, prefix), "$lt": prefix[:-1] + chr(ord(prefix[-1]) + 1)}


async def _lowest(collection: Collection, ids: Document, limit: int) -> Sequence[Document]:
    with reaching_the_store():
        documents = await collection.find(
            {"_id": ids}, sort=[("_id", ASCENDING)], limit=limit, batch_size=limit
        ).to_list()
    return [from_stored(document) for document in documents]

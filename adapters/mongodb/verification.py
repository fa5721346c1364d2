"""What `conveyor verify` reads of MongoDB: in order along the indexes, page by page, on a live server."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import Any

from pymongo import ASCENDING

from adapters.mongodb.commit_documents import from_stored as commit_from_stored
from adapters.mongodb.connection import Collection, Database, durable, reaching_the_store
from adapters.mongodb.workflow_documents import from_stored
from application.ports import INBOX_PREFIX, Commit, Document, StoredCommit

_COMMITS_AT_ONCE = 1_000
_BY_VERSION = [("workflowId", ASCENDING), ("firstVersion", ASCENDING)]
#: All ids that begin with `inbox:`; `;` follows `:`. The collection has other documents as well.
_INBOXES = (INBOX_PREFIX, "inbox;")


class MongoStoreScan:
    """`StoreScan` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._commits = durable(database, "workflow_events")
        self._workflows = durable(database, "workflows")
        self._inbox = durable(database, "inbox_positions")

    async def projections(self, first: str, limit: int) -> Sequence[Document]:
        found = [
            *await _lowest(self._workflows, {"$gte": first}, limit),
            *await _lowest(
                self._inbox, {"$gte": max(first, _INBOXES[0]), "$lt": _INBOXES[1]}, limit
            ),
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


async def _lowest(collection: Collection, ids: Document, limit: int) -> Sequence[Document]:
    with reaching_the_store():
        documents = await collection.find(
            {"_id": ids}, sort=[("_id", ASCENDING)], limit=limit, batch_size=limit
        ).to_list()
    return [from_stored(document) for document in documents]

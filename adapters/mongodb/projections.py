"""States of instances in `workflows`, and data of the inbox itself in `inbox_positions`.

`inbox_positions` holds four kinds of documents, distinguished by `_id`:

- `inbox:<partition>`: the state of the aggregate that records refusals (PROTOCOL rule 8);
- `start:<topic>:<partition>`: `{topic, partition, topicId, offset}`, see `InboxStart`;
- `mark:<partition>`: `{partition, claim, until}`, how far the projections are, see `Projections.marks`;
- `layout`: `{topics: [{topic, topicId}], partitions, secret}`, see `InboxLayout`.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from conveyor.times import rfc3339
from pymongo import ASCENDING

from adapters.mongodb.connection import Collection, Database, durable, reaching_the_store
from adapters.mongodb.guarded_writes import GuardedWrite, write_guarded
from adapters.mongodb.json_in_bson import encode
from adapters.mongodb.workflow_documents import from_stored, to_stored
from application.aggregates.aggregate import Catalog
from application.aggregates.catalog import CATALOG
from application.codec.times import parse_time
from application.ports import Document, InboxLayout, InboxStart, Mark

_LAYOUT_ID = "layout"

#: How many ids are remembered as stored. A forgotten one only costs a refused insert.
_REMEMBERED_MAX = 20_000


class MongoProjections:
    """`Projections` on MongoDB."""

    def __init__(self, database: Database, catalog: Catalog = CATALOG) -> None:
        self._catalog = catalog
        self._collections = {
            each.collection: durable(database, each.collection) for each in catalog.aggregates
        }
        self._timed = {each.collection for each in catalog.aggregates if each.kind.has_timers}
        self._inbox = durable(database, "inbox_positions")
        self._stored: dict[str, None] = {}

    async def load(self, ids: Sequence[str]) -> Mapping[str, Document]:
        asked: defaultdict[str, list[str]] = defaultdict(list)
        for aggregate_id in ids:
            asked[self._catalog.of(aggregate_id).collection].append(aggregate_id)
        found = [
            document
            for name, of_name in asked.items()
            for document in await _load(self._collections[name], of_name)
        ]
        return {document["_id"]: document for document in found}

    async def save(self, documents: Sequence[Document]) -> None:
        given: defaultdict[str, list[Document]] = defaultdict(list)
        for document in documents:
            given[self._catalog.of(document["_id"]).collection].append(document)
        for name, of_name in given.items():
            await self._save(self._collections[name], of_name)

    async def due(self, partition: int, before: datetime, limit: int) -> Sequence[str]:
        due = {
            "partition": partition,
            "nextTimerAt": {"$lte": rfc3339(before.astimezone(UTC))},
        }
        found: list[tuple[str, str]] = []
        with reaching_the_store():
            for name in sorted(self._timed):
                cursor = self._collections[name].find(
                    due, ["nextTimerAt"], sort=[("nextTimerAt", ASCENDING)], limit=limit
                )
                found.extend(
                    (document["nextTimerAt"], document["_id"])
                    for document in await cursor.to_list()
                )
        return [aggregate_id for _, aggregate_id in sorted(found)[:limit]]

    async def starts(self) -> Sequence[InboxStart]:
        with reaching_the_store():
            # The range of all `_id`s that begin with `start:`; `;` follows `:`.
            documents = await self._inbox.find(
                {"_id": {"$gte": "start:", "$lt": "start;"}}
            ).to_list()
        return [
            InboxStart(
                document["topic"], document["partition"], document["topicId"], document["offset"]
            )
            for document in documents
        ]

    async def save_starts(self, starts: Sequence[InboxStart]) -> None:
        await write_guarded(self._inbox, known=[_forward(start) for start in starts])

    async def marks(self) -> Sequence[Mark]:
        with reaching_the_store():
            documents = await self._inbox.find({"_id": {"$gte": "mark:", "$lt": "mark;"}}).to_list()
        return [
            Mark(
                document["partition"],
                document["claim"],
                parse_time(until) if (until := document["until"]) else None,
            )
            for document in documents
        ]

    async def save_marks(self, marks: Sequence[Mark]) -> None:
        await write_guarded(self._inbox, known=[_mark(mark) for mark in marks])

    async def layout(self) -> InboxLayout | None:
        with reaching_the_store():
            document = await self._inbox.find_one({"_id": _LAYOUT_ID})
        if document is None:
            return None
        topic_ids = {topic["topic"]: topic["topicId"] for topic in document["topics"]}
        return InboxLayout(topic_ids, document["partitions"], document["secret"])

    async def save_layout(self, layout: InboxLayout) -> None:
        topics = [
            {"topic": topic, "topicId": topic_id} for topic, topic_id in layout.topic_ids.items()
        ]
        document = {
            "topics": topics,
            "partitions": layout.partitions,
            "secret": layout.secret,
        }
        with reaching_the_store():
            await self._inbox.replace_one({"_id": _LAYOUT_ID}, document, upsert=True)

    async def _save(self, collection: Collection, documents: Sequence[Document]) -> None:
        new: list[GuardedWrite] = []
        known: list[GuardedWrite] = []
        for document in documents:
            over = {"_id": document["_id"], "version": {"$lt": document["version"]}}
            write = GuardedWrite(over, to_stored(document))
            (known if document["_id"] in self._stored else new).append(write)
        await write_guarded(collection, new=new, known=known)
        self._remember(documents)

    def _remember(self, documents: Sequence[Document]) -> None:
        self._stored.update((document["_id"], None) for document in documents)
        excess = len(self._stored) - _REMEMBERED_MAX
        if excess > 0:
            for forgotten in list(self._stored)[:excess]:
                del self._stored[forgotten]


async def _load(collection: Collection, ids: Sequence[str]) -> list[Document]:
    if not ids:
        return []
    with reaching_the_store():
        documents = await collection.find({"_id": {"$in": list(ids)}}, batch_size=1000).to_list()
    return [from_stored(document) for document in documents]


def _mark(mark: Mark) -> GuardedWrite:
    document = {
        "_id": f"mark:{mark.partition}",
        "partition": mark.partition,
        "claim": mark.claim,
        "until": None if mark.until is None else rfc3339(mark.until),
    }
    return GuardedWrite({"_id": document["_id"], "claim": {"$lte": mark.claim}}, encode(document))


def _forward(start: InboxStart) -> GuardedWrite:
    key = f"start:{start.topic}:{start.partition}"
    document = {
        "_id": key,
        "topic": start.topic,
        "partition": start.partition,
        "topicId": start.topic_id,
        "offset": start.offset,
    }
    behind = [{"topicId": {"$ne": start.topic_id}}, {"offset": {"$lte": start.offset}}]
    return GuardedWrite({"_id": key, "$or": behind}, encode(document))

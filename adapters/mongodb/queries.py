"""Lists of workflows over the collection `workflows`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymongo import ASCENDING, DESCENDING

from adapters.mongodb.connection import Database, durable, reaching_the_store
from adapters.mongodb.json_in_bson import TEXT_FIELD
from adapters.mongodb.workflow_documents import LABEL_PAIRS, from_stored, label_pair
from adapters.workflow_cursor import Place, cursor_after, decode_cursor
from application.ports import ANY_INCIDENT, NOT_LISTED, Document, Page, WorkflowFilter
from domain.workflow.status import WorkflowStatus

_LISTED = {name: 0 for field in NOT_LISTED for name in (field, f"{TEXT_FIELD}.{field}")}

#: Every code is a text that is not empty. Unlike `$exists` this passes over workflows without incidents.
_INCIDENT_CODE = "incidents.code"
_WITH_INCIDENTS = {_INCIDENT_CODE: {"$gt": ""}}

_ACTIVE = [status.value for status in WorkflowStatus if status.is_active]


class MongoWorkflowQueries:
    """`WorkflowQueries` on MongoDB; items come without steps, inputs, outputs and engine state."""

    def __init__(self, database: Database) -> None:
        self._workflows = durable(database, "workflows")

    async def find(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> Page:
        conditions = _conditions(filter)
        if cursor is not None:
            conditions.append(_beyond(decode_cursor(cursor), ascending=filter.ascending))
        direction = ASCENDING if filter.ascending else DESCENDING
        with reaching_the_store():
            found = await self._workflows.find(
                {"$and": conditions},
                _LISTED,
                sort=[("startedAt", direction), ("_id", direction)],
                limit=limit + 1,
                batch_size=limit + 1,
            ).to_list()
        items = [from_stored(document) for document in found[:limit]]
        return Page(items, cursor_after(items[-1]) if len(found) > limit else None)

    async def count_by_status(self) -> Mapping[str, int]:
        pipeline = [
            {"$match": {"status": {"$ne": None}}},
            {"$group": {"_id": "$status", "count": {"$sum": 1}}},
        ]
        with reaching_the_store():
            cursor = await self._workflows.aggregate(pipeline)
            groups: Sequence[Document] = await cursor.to_list()
        return {group["_id"]: group["count"] for group in groups}

    async def open_incidents(self) -> int:
        pipeline = [
            {"$match": _WITH_INCIDENTS},
            {"$group": {"_id": None, "count": {"$sum": {"$size": "$incidents"}}}},
        ]
        with reaching_the_store():
            cursor = await self._workflows.aggregate(pipeline)
            groups: Sequence[Document] = await cursor.to_list()
        return groups[0]["count"] if groups else 0


def _conditions(wanted: WorkflowFilter) -> list[Document]:
    # States of coordinators (locks, queues) have no status and are no workflows.
    conditions: list[Document] = [{"status": {"$ne": None}}]
    if wanted.status:
        conditions.append({"status": {"$in": list(wanted.status)}})
    if wanted.active is not None:
        conditions.append({"status": {"$in" if wanted.active else "$nin": _ACTIVE}})
    conditions.extend({name: value} for name, value in wanted.exact.items())
    if wanted.labels:
        pairs = [label_pair(key, value) for key, value in wanted.labels]
        conditions.append({LABEL_PAIRS: {"$all": pairs}})
    if wanted.incident == ANY_INCIDENT:
        conditions.append(_WITH_INCIDENTS)
    elif wanted.incident is not None:
        conditions.append({_INCIDENT_CODE: wanted.incident})
    if wanted.started_after is not None:
        conditions.append({"startedAt": {"$gt": wanted.started_after}})
    if wanted.started_before is not None:
        conditions.append({"startedAt": {"$lt": wanted.started_before}})
    return conditions


def _beyond(place: Place, *, ascending: bool) -> Document:
    """The condition for documents after a place in the list.

    Null sorts before every text, and no range of texts contains it.
    """
    further = "$gt" if ascending else "$lt"
    same_time = {"startedAt": place.started_at, "_id": {further: place.workflow_id}}
    if place.started_at is not None:
        later: list[Document] = [{"startedAt": {further: place.started_at}}]
        unstarted: list[Document] = [] if ascending else [{"startedAt": None}]
        return {"$or": [same_time, *later, *unstarted]}
    return {"$or": [same_time, {"startedAt": {"$gt": ""}}]} if ascending else same_time

"""Lists of workflows over the projected states in memory."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping

from adapters.memory.projections import MemoryProjections
from adapters.workflow_cursor import cursor_after, decode_cursor
from application.ports import ANY_INCIDENT, Document, Page, WorkflowFilter
from domain.workflow.status import WorkflowStatus


class MemoryWorkflowQueries:
    """`WorkflowQueries` over a `MemoryProjections`."""

    def __init__(self, projections: MemoryProjections) -> None:
        self._projections = projections

    async def find(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> Page:
        found = [document for document in self._workflows() if _matches(document, filter)]
        found.sort(key=_order, reverse=not filter.ascending)
        if cursor is not None:
            place = decode_cursor(cursor)
            last = (place.started_at or "", place.workflow_id)
            found = [
                document
                for document in found
                if (_order(document) > last if filter.ascending else _order(document) < last)
            ]
        items = found[:limit]
        return Page(items, cursor_after(items[-1]) if len(found) > limit else None)

    async def count_by_status(self) -> Mapping[str, int]:
        return Counter(document["status"] for document in self._workflows())

    async def open_incidents(self) -> int:
        return sum(len(document.get("incidents", ())) for document in self._workflows())

    def _workflows(self) -> list[Document]:
        # States of coordinators (locks, queues, inboxes) have no status and are no workflows.
        documents = self._projections.documents.values()
        return [document for document in documents if document.get("status") is not None]


def _order(document: Document) -> tuple[str, str]:
    return document.get("startedAt") or "", document["_id"]


def _matches(document: Document, wanted: WorkflowFilter) -> bool:
    labels: Mapping[str, str] = document.get("labels") or {}
    return (
        (not wanted.status or document["status"] in wanted.status)
        and wanted.active in {None, WorkflowStatus(document["status"]).is_active}
        and all(document.get(name) == value for name, value in wanted.exact.items())
        and set(wanted.labels) <= labels.items()
        and _has_incident(document, wanted.incident)
        and _started_between(document.get("startedAt"), wanted)
    )


def _has_incident(document: Document, wanted: str | None) -> bool:
    codes = {incident["code"] for incident in document.get("incidents", ())}
    return wanted is None or wanted in codes or (wanted == ANY_INCIDENT and bool(codes))


def _started_between(started_at: str | None, wanted: WorkflowFilter) -> bool:
    after, before = wanted.started_after, wanted.started_before
    if started_at is None:
        return after is None and before is None
    return (after is None or started_at > after) and (before is None or started_at < before)

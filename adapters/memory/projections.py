"""Projected states, stored starts and the layout in dictionaries."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

from conveyor.times import rfc3339

from application.ports import Document, InboxLayout, InboxStart, Mark


class MemoryProjections:
    """`Projections` in memory."""

    def __init__(self) -> None:
        #: Every projected state by id; `MemoryWorkflowQueries` reads it.
        self.documents: dict[str, Document] = {}
        self._starts: dict[tuple[str, int], InboxStart] = {}
        self._marks: dict[int, Mark] = {}
        self._layout: InboxLayout | None = None

    async def load(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return {key: self.documents[key] for key in ids if key in self.documents}

    async def save(self, documents: Sequence[Document]) -> None:
        for document in documents:
            stored = self.documents.get(document["_id"])
            if stored is None or stored["version"] < document["version"]:
                self.documents[document["_id"]] = document

    async def due(self, partition: int, before: datetime, limit: int) -> Sequence[str]:
        latest = rfc3339(before.astimezone(UTC))
        due = [
            document
            for document in self.documents.values()
            if document.get("partition") == partition
            and document.get("nextTimerAt") is not None
            and document["nextTimerAt"] <= latest
        ]
        due.sort(key=lambda document: document["nextTimerAt"])
        return [document["_id"] for document in due[:limit]]

    async def starts(self) -> Sequence[InboxStart]:
        return list(self._starts.values())

    async def save_starts(self, starts: Sequence[InboxStart]) -> None:
        for start in starts:
            place = (start.topic, start.partition)
            stored = self._starts.get(place)
            if stored is None or stored.topic_id != start.topic_id or stored.offset < start.offset:
                self._starts[place] = start

    async def marks(self) -> Sequence[Mark]:
        return list(self._marks.values())

    async def save_marks(self, marks: Sequence[Mark]) -> None:
        for mark in marks:
            stored = self._marks.get(mark.partition)
            if stored is None or stored.claim <= mark.claim:
                self._marks[mark.partition] = mark

    async def layout(self) -> InboxLayout | None:
        return self._layout

    async def save_layout(self, layout: InboxLayout) -> None:
        self._layout = layout

"""The readers of `conveyor verify`, in memory."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence

from conveyor.topics import EVENTS

from adapters.memory.broker import MemoryBroker
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.projections import MemoryProjections
from application.ports import Document, Published, PublishedRange, StoredCommit


class MemoryStoreScan:
    """`StoreScan` over a `MemoryEventLog` and a `MemoryProjections`."""

    def __init__(self, event_log: MemoryEventLog, projections: MemoryProjections) -> None:
        self._log = event_log
        self._projections = projections

    async def projections(self, first: str, limit: int) -> Sequence[Document]:
        documents = self._projections.documents
        return [documents[key] for key in sorted(documents) if key >= first][:limit]

    async def commits(self, first: str, last: str | None) -> AsyncIterator[StoredCommit]:
        for commit in self._log.in_order():
            if first <= commit.aggregate_id and (last is None or commit.aggregate_id <= last):
                yield StoredCommit(commit.id, commit.last_version, commit)


class MemoryPublishedEvents:
    """`PublishedEvents` of a `MemoryBroker`.

    Records below the offset `first` are missing, as if retention had deleted them.
    """

    def __init__(self, broker: MemoryBroker, first: int = 0) -> None:
        self._topic = broker.topic(EVENTS)
        self._first = first

    async def ranges(self) -> Sequence[PublishedRange]:
        return [
            PublishedRange(number, min(self._first, log.end), log.end)
            for number, log in enumerate(self._topic.logs)
        ]

    async def read(self, ranges: Sequence[PublishedRange]) -> AsyncIterator[Published]:
        for each in ranges:
            log = self._topic.logs[each.partition]
            for stored in log.read(each.start, each.end - each.start):
                yield Published(each.partition, stored.offset, stored.timestamp, stored.message)

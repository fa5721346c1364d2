"""Workflow events as they happen, for waiters in this process."""

from __future__ import annotations

from collections.abc import AsyncIterator

from conveyor.messages import Message
from conveyor.topics import EVENTS

from adapters.sqlite.batches import as_message
from adapters.sqlite.store import SqliteStore

_BATCH = 1_000
_WAIT_SECONDS = 60.0


class SqliteEventFeed:
    """`EventFeed` on the embedded events topic."""

    def __init__(self, store: SqliteStore, topic: str = EVENTS) -> None:
        self._store = store
        self._topic = topic

    async def follow(self) -> AsyncIterator[Message]:
        topic = await self._store.topic(self._topic)
        consumer = self._store.consumer({topic: topic.end})
        try:
            while True:
                for taken in await consumer.take(_BATCH, _WAIT_SECONDS):
                    for batch in taken.batches:
                        for stored in batch.records:
                            message = as_message(stored)
                            if isinstance(message, Message):
                                yield message
        finally:
            consumer.close()

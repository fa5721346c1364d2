"""Writing to the embedded topics."""

from __future__ import annotations

from collections.abc import Coroutine, Sequence
from typing import Any

from conveyor.messages import Message, Record

from adapters.sqlite.event_log import EngineSession
from adapters.sqlite.store import SqliteStore


class SqlitePublisher:
    """`PublishEventPort` for all but the engine."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        if messages:
            await self._store.write(messages=messages)


class SqliteEnginePublisher:
    """The engine's `PublishEventPort`: writes the appended commits together with their messages."""

    def __init__(self, session: EngineSession) -> None:
        self._session = session

    def publish(self, messages: Sequence[Message | Record]) -> Coroutine[Any, Any, None]:
        return self._session.write(messages)

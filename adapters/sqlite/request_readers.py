"""Finds which services' requests are read in the embedded store."""

from __future__ import annotations

from collections.abc import Sequence

from conveyor.topics import step_requests

from adapters.sqlite.store import SqliteStore
from application.ports import ReadServices

_READ = "SELECT DISTINCT topic FROM consumer_offsets"


class SqliteRequestReaders:
    """`RequestReaders`: the participants of this process, and those of earlier ones by what they left."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def ever_read(self, services: Sequence[str]) -> ReadServices:
        read = {topic for (topic,) in await self._store.query(_READ, ())}
        read |= {name for name, topic in self._store.topics.items() if topic.readers}
        return ReadServices(frozenset(each for each in services if step_requests(each) in read))

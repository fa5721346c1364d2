"""Workflow definitions in the embedded store."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import orjson

from adapters.sqlite.store import SqliteStore
from adapters.sqlite.writer import Statement
from application.ports import Document

_INSERT = "INSERT INTO definitions (name, version, document) VALUES {values} ON CONFLICT DO NOTHING"
_GET = "SELECT document FROM definitions WHERE name = ? AND version = ?"
_LATEST = "SELECT document FROM definitions WHERE name = ? ORDER BY version DESC LIMIT 1"
_ALL = "SELECT document FROM definitions ORDER BY name, version"


class SqliteDefinitionRepository:
    """`WorkflowDefinitionRepository` on the table `definitions`."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def get(self, name: str, version: int) -> Document | None:
        return await self._first(_GET, (name, version))

    async def latest(self, name: str) -> Document | None:
        return await self._first(_LATEST, (name,))

    async def all(self) -> Sequence[Document]:
        return [orjson.loads(row[0]) for row in await self._store.query(_ALL, ())]

    async def add(self, document: Document) -> bool:
        row = (document["name"], document["version"], orjson.dumps(document).decode())
        changed = await self._store.write([Statement(_INSERT, [row])])
        return changed[0] == 1

    async def _first(self, sql: str, parameters: Sequence[Any]) -> Document | None:
        rows = await self._store.query(sql, parameters)
        return orjson.loads(rows[0][0]) if rows else None

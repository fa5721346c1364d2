"""Registered definitions in a dictionary."""

from __future__ import annotations

from collections.abc import Sequence

from application.ports import Document


class MemoryDefinitionRepository:
    """`WorkflowDefinitionRepository` in memory."""

    def __init__(self) -> None:
        self._definitions: dict[tuple[str, int], Document] = {}

    async def get(self, name: str, version: int) -> Document | None:
        return self._definitions.get((name, version))

    async def latest(self, name: str) -> Document | None:
        versions = [key for key in self._definitions if key[0] == name]
        return self._definitions[max(versions)] if versions else None

    async def all(self) -> Sequence[Document]:
        return [self._definitions[key] for key in sorted(self._definitions)]

    async def add(self, document: Document) -> bool:
        key = (document["name"], document["version"])
        if key in self._definitions:
            return False
        self._definitions[key] = document
        return True

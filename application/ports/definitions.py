"""Registered workflow definitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from application.ports.document import Document
from domain.definition.definition import WorkflowDefinition

#: A registered version, compiled; None if it is not registered.
FindDefinition = Callable[[str, int], Awaitable[WorkflowDefinition | None]]
#: The same, or the newest version where none is named.
LookUpDefinition = Callable[[str, int | None], Awaitable[WorkflowDefinition | None]]

#: A registered version, of those that were looked up before.
DefinitionOf = Callable[[str, int], WorkflowDefinition]


class Definitions(Protocol):
    """Registered definitions, compiled."""

    async def get(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        """That version, or the newest where none is named; None if it is not registered."""
        ...

    def cached(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        """The same from memory, if it was looked up lately."""
        ...


class WorkflowDefinitionRepository(Protocol):
    """Registered definitions: documents as registered, immutable."""

    async def get(self, name: str, version: int) -> Document | None: ...

    async def latest(self, name: str) -> Document | None:
        """The highest version registered."""
        ...

    async def all(self) -> Sequence[Document]:
        """Every version of every definition, by name and version."""
        ...

    async def add(self, document: Document) -> bool:
        """Store a new one; False if that name and version exists (whatever its content)."""
        ...

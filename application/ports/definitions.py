"""Registered workflow definitions."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Sequence
from typing import Protocol

from application.ports.document import Document
from domain.definition.definition import WorkflowDefinition

#: A registered version, compiled; None if it is not registered.
FindDefinition = Callable[[str, int], Awaitable[WorkflowDefinition | None]]
#: The same; without a version, the newest.
LookUpDefinition = Callable[[str, int | None], Awaitable[WorkflowDefinition | None]]

#: A registered version that was looked up before.
DefinitionOf = Callable[[str, int], WorkflowDefinition]


class Definitions(Protocol):
    """Registered definitions, compiled."""

    async def get(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        """That version or, without a version, the newest; None if it is not registered."""
        ...

    def cached(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        """The same from memory, if it was looked up recently."""
        ...


class WorkflowDefinitionRepository(Protocol):
    """Registered definitions, as immutable documents."""

    async def get(self, name: str, version: int) -> Document | None: ...

    async def latest(self, name: str) -> Document | None:
        """The highest version registered."""
        ...

    async def all(self) -> Sequence[Document]:
        """Every version of every definition, by name and version."""
        ...

    async def add(self, document: Document) -> bool:
        """Store a new definition. Returns False if that name and version exist, whatever the content."""
        ...

"""Registered workflow definitions."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Protocol

from application.ports.document import Document


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

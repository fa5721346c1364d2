"""The stores that follow the log: projections, the hot state, and the progress of each inbox partition."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from application.ports.document import Document


class SetupError(Exception):
    """The installation differs from what `conveyor init` set up. The message says what to do."""


@dataclass(frozen=True, slots=True)
class InboxStart:
    """The progress of an inbox partition: everything below `offset` is appended, published and projected."""

    topic: str
    partition: int
    topic_id: str
    offset: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the projections of an inbox partition are."""

    partition: int
    #: The version of the partition's inbox. It increases with each claim, so each new owner has a higher one.
    claim: int
    #: Everything decided before this time is projected. None: everything is, except what was decided just now.
    until: datetime | None


@dataclass(frozen=True, slots=True)
class InboxLayout:
    """The layout that `init` recorded. An engine refuses to start on a different one (PROTOCOL rules 11 and 16)."""

    #: topic name -> topic id
    topic_ids: Mapping[str, str]
    partitions: int
    #: Signs internal messages (header `conveyor-mac`).
    secret: bytes


class Projections(Protocol):
    """Projections: documents with the whole state (`_id`, `version`, `partition`, `nextTimerAt`, ...)."""

    async def load(self, ids: Sequence[str]) -> Mapping[str, Document]:
        """The existing documents, by id, read from the primary with majority read concern."""
        ...

    async def save(self, documents: Sequence[Document]) -> None:
        """Insert each document, or replace one with a lower `version` (PROTOCOL rule 12). A newer one stays."""
        ...

    async def due(self, partition: int, before: datetime, limit: int) -> Sequence[str]:
        """Ids of the partition's instances with `nextTimerAt` <= `before`, earliest first."""
        ...

    async def starts(self) -> Sequence[InboxStart]:
        """The stored start of every inbox partition."""
        ...

    async def save_starts(self, starts: Sequence[InboxStart]) -> None:
        """Store starts. A start with the same topic id never moves backwards."""
        ...

    async def marks(self) -> Sequence[Mark]:
        """The mark of each inbox partition that has one."""
        ...

    async def save_marks(self, marks: Sequence[Mark]) -> None:
        """Store marks. A mark never replaces that of a newer claim (PROTOCOL rule 12)."""
        ...

    async def layout(self) -> InboxLayout | None:
        """The layout that `init` wrote; None before it ran."""
        ...

    async def save_layout(self, layout: InboxLayout) -> None: ...


class HotState(Protocol):
    """The newest state of active instances for fast readers, with the instance's lock key (Redis). Best effort."""

    async def save(self, documents: Sequence[Document]) -> None:
        """Write active instances, with `workflow:lock:{id}`, over lower versions only. Remove those that have ended."""
        ...

"""What follows the log: projections, the hot state, and how far each inbox partition is done."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from application.ports.document import Document


class SetupError(Exception):
    """The installation is not as `conveyor init` left it; the message says what to do."""


@dataclass(frozen=True, slots=True)
class InboxStart:
    """How far an inbox partition is done: everything below `offset` is appended, published and projected."""

    topic: str
    partition: int
    topic_id: str
    offset: int


@dataclass(frozen=True, slots=True)
class Mark:
    """How far the projections of an inbox partition are."""

    partition: int
    #: The version of the partition's inbox: it grows with each claim, so each owner has a higher one.
    claim: int
    #: Everything decided before is projected; None: everything is, but for what was decided just now.
    until: datetime | None


@dataclass(frozen=True, slots=True)
class InboxLayout:
    """What `init` found out and wrote down; an engine refuses another one (PROTOCOL rules 11 and 16)."""

    #: topic name -> topic id
    topic_ids: Mapping[str, str]
    partitions: int
    #: Signs internal messages (header `conveyor-mac`).
    secret: bytes


class Projections(Protocol):
    """Documents that follow the log: whole states (`_id`, `version`, `partition`, `nextTimerAt`, ...)."""

    async def load(self, ids: Sequence[str]) -> Mapping[str, Document]:
        """The documents that exist, by id, read from the primary (majority)."""
        ...

    async def save(self, documents: Sequence[Document]) -> None:
        """Insert or replace each document, only over a lower `version` (PROTOCOL rule 12); a newer one stays."""
        ...

    async def due(self, partition: int, before: datetime, limit: int) -> Sequence[str]:
        """Ids of the partition's instances with `nextTimerAt` <= `before`, soonest first."""
        ...

    async def starts(self) -> Sequence[InboxStart]:
        """The stored start of every inbox partition."""
        ...

    async def save_starts(self, starts: Sequence[InboxStart]) -> None:
        """Store starts; one with the same topic id is never moved backwards."""
        ...

    async def marks(self) -> Sequence[Mark]:
        """The mark of each inbox partition that has one."""
        ...

    async def save_marks(self, marks: Sequence[Mark]) -> None:
        """Store marks; one never replaces that of a newer claim (PROTOCOL rule 12)."""
        ...

    async def layout(self) -> InboxLayout | None:
        """What `init` wrote, None before it ran."""
        ...

    async def save_layout(self, layout: InboxLayout) -> None: ...


class HotState(Protocol):
    """The newest state of active instances for fast readers, with the instance's lock key (Redis). Best effort."""

    async def save(self, documents: Sequence[Document]) -> None:
        """Write active instances over lower versions only, with `workflow:lock:{id}`; remove ended ones."""
        ...

"""Reading the stores and the published events as a whole, for `conveyor verify`."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Protocol

from conveyor.messages import MalformedEvent, Message

from application.ports.document import Document
from application.ports.log import Commit


@dataclass(frozen=True, slots=True)
class StoredCommit:
    """A commit, and the redundant fields that the store keeps with it, which could contradict it.

    A commit whose content cannot be read has no entries.
    """

    id: str
    last_version: int
    commit: Commit


class StoreScan(Protocol):
    """Reads all of the log and the projections once, by ranges of ids in lexicographic order, while others write."""

    async def projections(self, first: str, limit: int) -> Sequence[Document]:
        """The documents with the lowest ids from `first` on, ascending, at most `limit`, including those of inboxes."""
        ...

    def commits(self, first: str, last: str | None) -> AsyncIterator[StoredCommit]:
        """The commits of all ids from `first` to `last`, both included (None: to the end), by id and first version.

        Concurrent appends never make the commits of an id look as if they had a gap.
        """
        ...


@dataclass(frozen=True, slots=True)
class PublishedRange:
    """The retained part of one partition of the events topic: offsets from `start` up to, not including, `end`."""

    partition: int
    start: int
    end: int


@dataclass(frozen=True, slots=True)
class Published:
    """One record of the events topic."""

    partition: int
    offset: int
    #: When it was written.
    timestamp: datetime
    message: Message | MalformedEvent


class PublishedEvents(Protocol):
    """The retained records of `orchestration.workflow.events`."""

    async def ranges(self) -> Sequence[PublishedRange]:
        """The current range of every partition. Raises `Unavailable`."""
        ...

    def read(self, ranges: Sequence[PublishedRange]) -> AsyncIterator[Published]:
        """The records of these ranges, in order within each partition. Raises `Unavailable`."""
        ...

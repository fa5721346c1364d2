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
    """A commit, and what the store keeps with it that could contradict it.

    One whose content cannot be read has no entries.
    """

    id: str
    last_version: int
    commit: Commit


class StoreScan(Protocol):
    """Reads log and projections once over, by ranges of ids in the order of their characters, while others write."""

    async def projections(self, first: str, limit: int) -> Sequence[Document]:
        """The documents with the lowest ids from `first` on, ascending, at most `limit`; those of inboxes too."""
        ...

    def commits(self, first: str, last: str | None) -> AsyncIterator[StoredCommit]:
        """The commits of all ids from `first` to `last`, both included (None: to the end), by id and first version.

        Those of one id begin without a gap if they are stored so, however many are appended meanwhile.
        """
        ...


@dataclass(frozen=True, slots=True)
class PublishedRange:
    """What is kept of one partition of the events: offsets from `start` up to, not including, `end`."""

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
    """Everything that is kept of `orchestration.workflow.events`."""

    async def ranges(self) -> Sequence[PublishedRange]:
        """Every partition as it is now. Raises `Unavailable`."""
        ...

    def read(self, ranges: Sequence[PublishedRange]) -> AsyncIterator[Published]:
        """The records of these ranges, in order within each partition. Raises `Unavailable`."""
        ...

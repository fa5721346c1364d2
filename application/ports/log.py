"""The event log: commits of recorded events, appended through the fence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec
import orjson

from application.ports.document import Document
from domain.aggregate.position import Position
from domain.values import Value

#: Types of events and messages that stay between engines and aggregates.
INTERNAL_PREFIX = "orchestration.internal."


class EventHead(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """What messages, stores and metrics need of an event's data; the rest is not parsed for them.

    Fields that the event does not have are None, `request` is empty.
    """

    event_id: str
    #: RFC 3339.
    occurred_at: str
    #: Empty where the event is of an inbox and names nobody.
    aggregate_id: str = ""
    version: int | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    purpose: str | None = None
    attempt: int | None = None
    #: Of an event that asks a participant: whom, under which key, and the request itself.
    service_name: str | None = None
    idempotency_key: str | None = None
    request: msgspec.Raw = msgspec.Raw()


_head = msgspec.json.Decoder(EventHead).decode


class RecordedEvent(Value, kw_only=False):
    """An event as it is stored and published: `json` is the whole published document (PROTOCOL rule 15)."""

    type: str
    json: bytes
    #: The name that a source document gives this sort of event (`SAGA_COMPENSATION`, ...), if any.
    kind: str | None = None
    #: Messages to other aggregates that follow from it, each `{to, type, data}` (PROTOCOL rule 23).
    sends: tuple[Document, ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether it is published; what only coordinators note for themselves is not."""
        return not self.type.startswith(INTERNAL_PREFIX)

    @property
    def head(self) -> EventHead:
        """Raises `ValueError` for data that no engine wrote."""
        return _head(self.json)

    @property
    def data(self) -> Document:
        """The document. It is parsed again each time."""
        return orjson.loads(self.json)


class Entry(Value, kw_only=False):
    """What one inbox message did to one instance."""

    cause: Position
    #: `<source> <id>` of the causing CloudEvent.
    message_id: str
    events: tuple[RecordedEvent, ...]
    #: The first so many events are what the message itself changed, the others followed from them
    #: (PROTOCOL rule 66). Entries of older versions do not have it.
    primary: int | None = None


class Commit(Value, kw_only=False):
    """All changes of one instance in one batch: one document, the unit of the fence (PROTOCOL rule 5)."""

    aggregate_id: str
    first_version: int
    partition: int
    entries: tuple[Entry, ...]

    @property
    def id(self) -> str:
        return commit_id(self.aggregate_id, self.first_version)

    @property
    def last_version(self) -> int:
        return self.first_version + sum([len(entry.events) for entry in self.entries]) - 1


def commit_id(aggregate_id: str, first_version: int) -> str:
    """The `_id` of the commit that begins at this version; a second writer of it is refused by the store."""
    return f"{aggregate_id}:{first_version:06d}"


class EventLog(Protocol):
    """The truth. Durable when `append` returns, or, where log and topics are one store, when the
    `PublishEventPort.publish` that follows returns (nothing is visible before that either)."""

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        """Write each commit unless its id exists; one answer per commit, in order: written or not.

        A commit that exists never disturbs the others. Raises `Unavailable` when the outcome is unknown.
        """
        ...

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        """For each id the commits that follow that version without a gap, in order.

        Ids with nothing newer may be absent from the answer. Reads what a majority holds (PROTOCOL rule 14).
        """
        ...

    async def since(self, starts: Sequence[Position]) -> Sequence[Commit]:
        """Every commit with a cause at or above one of the positions (same topic id and partition, offset >=),
        ordered by workflow id and version. Used once per assignment (PROTOCOL rule 6)."""
        ...

    async def history(self, aggregate_id: str, after_version: int, limit: int) -> Sequence[Commit]:
        """Commits of one instance whose last version is above `after_version`, ascending, at most `limit` commits."""
        ...

    async def find_messages(
        self, aggregate_id: str, message_ids: Collection[str]
    ) -> Mapping[str, Entry]:
        """The entries that these messages caused, by message id; those appended last are found as well, published
        or not (PROTOCOL rules 8 and 9)."""
        ...

    async def confirm_absent(self, aggregate_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids of which no commit exists, by a read that misses none (PROTOCOL rule 14)."""
        ...

"""The event log: commits of recorded events, appended through the fence."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from typing import Protocol

import msgspec
import orjson

from application.ports.document import Document
from domain.aggregate.position import Position
from domain.values import Value

#: Prefix of the types of events and messages that stay within Conveyor.
INTERNAL_PREFIX = "orchestration.internal."


class EventHead(msgspec.Struct, frozen=True, gc=False, rename="camel"):
    """The part of an event's data that messages, stores and metrics need. The rest is not parsed.

    Fields that the event does not have are None; `request` is then empty.
    """

    event_id: str
    #: RFC 3339.
    occurred_at: str
    #: Empty for an event of an inbox that names no workflow.
    aggregate_id: str = ""
    version: int | None = None
    correlation_id: str | None = None
    traceparent: str | None = None
    purpose: str | None = None
    attempt: int | None = None
    #: Of an event that sends a request: the service, the idempotency key and the request.
    service_name: str | None = None
    idempotency_key: str | None = None
    request: msgspec.Raw = msgspec.Raw()


_head = msgspec.json.Decoder(EventHead).decode


class RecordedEvent(Value, kw_only=False):
    """An event as it is stored and published. `json` is the whole published document (PROTOCOL rule 15)."""

    type: str
    json: bytes
    #: The requirements' name for this kind of event (`SAGA_COMPENSATION`, ...), if any.
    kind: str | None = None
    #: Messages to other aggregates that follow from it, each `{to, type, data}` (PROTOCOL rule 23).
    sends: tuple[Document, ...] = ()

    @property
    def is_public(self) -> bool:
        """Whether it is published. Internal events of coordinators are not."""
        return not self.type.startswith(INTERNAL_PREFIX)

    @property
    def head(self) -> EventHead:
        """Raises `ValueError` for data that was not written by an engine."""
        return _head(self.json)

    @property
    def data(self) -> Document:
        """The document, parsed again on each call."""
        return orjson.loads(self.json)


class Entry(Value, kw_only=False):
    """What one inbox message changed in one instance."""

    cause: Position
    #: `<source> <id>` of the causing CloudEvent.
    message_id: str
    events: tuple[RecordedEvent, ...]
    #: How many events the message itself caused. They come first; the others followed (PROTOCOL rule 66). Entries of
    #: older versions do not have it.
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
    """The `_id` of the commit that begins at this version. The store refuses a second writer."""
    return f"{aggregate_id}:{first_version:06d}"


class EventLog(Protocol):
    """The source of truth. A commit is durable when `append` returns. If log and topics are one store, it is durable,
    and visible, when the next `PublishEventPort.publish` returns."""

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        """Write each commit unless its id exists. Returns for each commit, in order, whether it was written.

        A commit that exists does not affect the others. Raises `Unavailable` if the outcome is unknown.
        """
        ...

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        """For each id, the commits that follow the given version without a gap, in order.

        Ids without newer commits may be absent. Reads what a majority has (PROTOCOL rule 14).
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
        """The entries that these messages caused, by message id, including the newest, published or not (PROTOCOL
        rules 8 and 9)."""
        ...

    async def confirm_absent(self, aggregate_ids: Sequence[str]) -> frozenset[str]:
        """The ids for which no commit exists, by a read that misses none (PROTOCOL rule 14)."""
        ...

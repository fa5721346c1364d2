"""What the application needs from the outside: one Protocol per role, implemented by `adapters/`.

Errors are few: an adapter translates whatever its driver raises into `Unavailable` (try again later,
the outcome of a write is unknown) or lets a bug be a bug. A lost race is an answer, never an exception.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Collection, Coroutine, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol

import orjson
from conveyor.cloudevents import encode
from conveyor.messages import MalformedEvent, Message, Record

from domain.position import Position, TopicPartition

#: A JSON-ready document: camelCase keys, times as RFC 3339 strings, nothing but JSON types.
Document = dict[str, Any]


class Unavailable(Exception):
    """A server does not answer or refused for a passing reason; what was being written may or may not be there."""

    def __init__(self, component: str, detail: str) -> None:
        super().__init__(f"{component}: {detail}")
        #: `kafka`, `eventStore` or `redis`, as in the health document.
        self.component = component
        self.detail = detail


# -- the event log -------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class RecordedEvent:
    """An event as it is stored and published: `data` holds the whole published document (PROTOCOL rule 15)."""

    type: str
    data: Document
    #: The name that a source document gives this sort of event (`SAGA_COMPENSATION`, ...), if any.
    kind: str | None = None
    _json: bytes | None = field(default=None, init=False, repr=False, compare=False)

    @property
    def json(self) -> bytes:
        """`data` as JSON; encoded once, since it is measured, published and stored."""
        encoded = self._json
        if encoded is None:
            encoded = orjson.dumps(self.data)
            object.__setattr__(self, "_json", encoded)
        return encoded


@dataclass(frozen=True, slots=True)
class Entry:
    """What one inbox message did to one instance."""

    cause: Position
    #: `<source> <id>` of the causing CloudEvent.
    message_id: str
    events: tuple[RecordedEvent, ...]


@dataclass(frozen=True, slots=True)
class Commit:
    """All changes of one instance in one batch: one document, the unit of the fence (PROTOCOL rule 5)."""

    workflow_id: str
    first_version: int
    partition: int
    entries: tuple[Entry, ...]

    @property
    def id(self) -> str:
        return commit_id(self.workflow_id, self.first_version)

    @property
    def last_version(self) -> int:
        return self.first_version + sum(len(entry.events) for entry in self.entries) - 1


def commit_id(workflow_id: str, first_version: int) -> str:
    """The `_id` of the commit that begins at this version; a second writer of it is refused by the store."""
    return f"{workflow_id}:{first_version:06d}"


#: Before the number of a partition: the aggregate of refusals to workflows that do not exist (PROTOCOL rule 8).
INBOX_PREFIX = "inbox:"


def is_inbox(aggregate_id: str) -> bool:
    """Whether it is a partition's inbox, no workflow: an aggregate with very many commits."""
    return aggregate_id.startswith(INBOX_PREFIX)


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

    async def history(self, workflow_id: str, after_version: int, limit: int) -> Sequence[Commit]:
        """Commits of one instance whose last version is above `after_version`, ascending, at most `limit` commits."""
        ...

    async def find_messages(
        self, workflow_id: str, message_ids: Collection[str]
    ) -> Mapping[str, Entry]:
        """The entries that these messages caused, by message id; those appended last are found as well, published
        or not (PROTOCOL rules 8 and 9)."""
        ...

    async def confirm_absent(self, workflow_ids: Sequence[str]) -> frozenset[str]:
        """Those of the ids of which no commit exists, by a read that misses none (PROTOCOL rule 14)."""
        ...


# -- projections ---------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class InboxStart:
    """How far an inbox partition is done: everything below `offset` is appended, published and projected."""

    topic: str
    partition: int
    topic_id: str
    offset: int


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

    async def layout(self) -> InboxLayout | None:
        """What `init` wrote, None before it ran."""
        ...

    async def save_layout(self, layout: InboxLayout) -> None: ...


@dataclass(frozen=True, slots=True, kw_only=True)
class WorkflowFilter:
    """Filters of the list; empty means all."""

    status: tuple[str, ...] = ()
    active: bool | None = None
    type: str | None = None
    definition: str | None = None
    correlation_id: str | None = None
    user_id: str | None = None
    wallet: str | None = None
    labels: Mapping[str, str] | None = None
    started_after: str | None = None
    started_before: str | None = None
    ascending: bool = False


@dataclass(frozen=True, slots=True)
class Page:
    items: Sequence[Document]
    next_cursor: str | None


class WorkflowQueries(Protocol):
    """Lists over the projection; up to a second behind."""

    async def find(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> Page:
        """One page ordered by `startedAt` (newest first unless ascending), then id.

        Raises ValueError for a cursor that it did not hand out.
        """
        ...

    async def count_by_status(self) -> Mapping[str, int]: ...


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


class HotState(Protocol):
    """The newest state of active instances for fast readers, with the instance's lock key (Redis). Best effort."""

    async def save(self, documents: Sequence[Document]) -> None:
        """Write active instances over lower versions only, with `workflow:lock:{id}`; remove ended ones."""
        ...


# -- verification --------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class StoredCommit:
    """A commit, and what the store keeps beside it that could contradict it.

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


# -- messaging -----------------------------------------------------------------------------------


@dataclass(frozen=True, slots=True)
class Received:
    """One inbox message: where it stood, as it stood there, and what it decodes to."""

    position: Position
    #: As the broker has it; a broker in the same process may have kept the message itself.
    stored: Record | Message
    #: The broker's time of the record.
    timestamp: datetime
    message: Message | MalformedEvent

    @property
    def record(self) -> Record:
        """What goes on to another topic if the message cannot be taken here."""
        stored = self.stored
        return encode(stored) if isinstance(stored, Message) else stored

    @property
    def size(self) -> int:
        """Bytes of its value."""
        stored = self.stored
        return len(stored.data if isinstance(stored, Message) else stored.value or b"")


@dataclass(frozen=True, slots=True)
class LaneState:
    """An inbox topic's partition at the moment of its assignment."""

    topic: str
    partition: int
    topic_id: str
    #: The group's committed offset, None if it has none.
    committed: int | None
    #: `Inbox.handed_out` comes to this offset once all that lay here then was taken.
    end: int


class InboxListener(Protocol):
    """Told by the inbox, always while its owner waits in `Inbox.take` or `Inbox.restart`."""

    async def assigned(self, lanes: Sequence[LaneState]) -> Mapping[TopicPartition, int]:
        """Partitions held in *both* inbox topics (PROTOCOL rule 21); answers where to read from."""
        ...

    async def revoked(self, partitions: Sequence[int]) -> None:
        """Still ours until this returns: project, commit, forget."""
        ...

    async def lost(self, partitions: Sequence[int]) -> None:
        """No longer ours: forget, write nothing."""
        ...


class Inbox(Protocol):
    """The two co-partitioned inbox topics, read by one consumer of the group."""

    @property
    def problem(self) -> str | None:
        """For the health document: why messages are not read, None if all is well."""
        ...

    async def start(self, listener: InboxListener) -> None: ...

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        """What is there, at most `limit`, oldest first per lane; waits for the first one only.

        Raises `Unavailable` when the broker is away (call again).
        """
        ...

    def handed_out(self, lane: TopicPartition) -> int:
        """No message below this offset is still to be taken from the lane.

        It may be above the last message's: not every offset holds a message.
        """
        ...

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Everything below is done. Raises `Unavailable`; a commit that comes too late for the group is dropped."""
        ...

    async def restart(self, partitions: Sequence[int]) -> None:
        """Begin again at the committed offsets: `lost`, then `assigned`, then reading from its answer."""
        ...

    async def close(self) -> None:
        """Leave the group; `revoked` is called first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """What one round of trimming the inbox did."""

    #: Of the round alone, unless others trimmed at the same time.
    messages: int
    #: Partitions of an inbox topic that were not trimmed though they could be, and why not.
    failures: Mapping[TopicPartition, str]


class InboxTrimmer(Protocol):
    """Deletes what is done from the inbox topics, which keep everything by themselves (PROTOCOL rule 16)."""

    async def trim(self, starts: Sequence[InboxStart]) -> Trimmed:
        """Delete below these stored starts, but nothing that the group has not committed, and nothing of a topic
        with another id. May be called by any number of engines at once. Raises `Unavailable` when nothing is known.
        """
        ...


class PublishEventPort(Protocol):
    """Writes to topics, in the order given, with every guarantee on (PROTOCOL rule 7)."""

    def publish(self, messages: Sequence[Message | Record]) -> Coroutine[Any, Any, None]:
        """Returns when all are acknowledged. Raises `Unavailable` if one was not: nothing later may be sent then
        until the partitions were restarted.

        Where log and topics are one store, commits belong to the first call after their `append`, awaited or not.
        """
        ...


class EventFeed(Protocol):
    """Every workflow event from now on, for those who wait for outcomes (API, SDK)."""

    def follow(self) -> AsyncIterator[Message]:
        """Messages of `orchestration.workflow.events` published after the first iteration step began."""
        ...


class Telemetry(Protocol):
    """Told what happened, for logs and metrics; must not fail and must be quick."""

    def recorded(self, events: Sequence[RecordedEvent]) -> None:
        """These events are appended and published."""
        ...

    def counted(self, what: str, amount: int = 1) -> None:
        """Something without an event: `dead_letters`, `orphans`, `rerouted`, `conflicts`, `restarts`."""
        ...


class Clock(Protocol):
    """Time as the application sees it; virtual in the simulator."""

    def now(self) -> datetime:
        """UTC, whole milliseconds."""
        ...

    async def sleep(self, seconds: float) -> None: ...

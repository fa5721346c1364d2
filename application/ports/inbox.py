"""The inbox: two co-partitioned topics, and the partitions of them that this process owns."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Protocol

from conveyor.cloudevents import encode
from conveyor.messages import MalformedEvent, Message, Record

from application.ports.states import InboxStart
from domain.aggregate.position import Position, TopicPartition
from domain.values import Value


class Received(Value, kw_only=False, gc=True):
    """One inbox message: where it stood, as it stood there, and what it decodes to.

    The collector watches it: an exception that is raised holds the frames that hold the record.
    """

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
        """Bytes of its key, value and headers, as the broker counts them but for its own framing."""
        stored = self.stored
        if isinstance(stored, Message):
            texts = (*stored.extensions.values(), *stored.headers.values())
            return len(stored.key or "") + len(stored.data) + sum(map(len, texts))
        headers = sum([len(name) + len(text) for name, text in stored.headers])
        return len(stored.key or b"") + len(stored.value or b"") + headers


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


@dataclass(frozen=True, slots=True)
class Assigned:
    """What the listener makes of an assignment: each partition either starts or is stopped."""

    #: Where to read each lane from.
    starts: Mapping[TopicPartition, int]
    #: Partitions that stay unread until the group assigns them again, and why.
    stopped: Mapping[int, str] = field(default_factory=dict[int, str])


class InboxListener(Protocol):
    """The inbox calls it, always while its owner waits in `Inbox.take` or `Inbox.restart`."""

    async def assigned(self, lanes: Sequence[LaneState]) -> Assigned:
        """Partitions held in *both* inbox topics (PROTOCOL rule 21)."""
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
        """For the health document: why no messages are read, None if all is well."""
        ...

    @property
    def stopped(self) -> Mapping[int, str]:
        """For the health document: partitions that stand still, and why; the others go on.

        Each stands still until a restart names it or the group assigns it again.
        """
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

    @property
    def lag(self) -> int:
        """Messages that are still to be taken, as far as the client knows without asking; for the health document."""
        ...

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Everything below is done. Raises `Unavailable`; a commit that comes too late for the group is dropped."""
        ...

    async def restart(self, partitions: Sequence[int]) -> None:
        """Begin again at the committed offsets: `lost`, then `assigned`, then reading where that says."""
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

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
    """One inbox message: its position, the raw record, and the decoded message.

    The garbage collector tracks it, because a raised exception refers to the frames that refer to the record.
    """

    position: Position
    #: The record as the broker has it. A broker in the same process may have the message itself.
    stored: Record | Message
    #: The broker's time of the record.
    timestamp: datetime
    message: Message | MalformedEvent

    @property
    def record(self) -> Record:
        """The record to write to another topic if the message cannot be handled here."""
        stored = self.stored
        return encode(stored) if isinstance(stored, Message) else stored

    @property
    def size(self) -> int:
        """Bytes of key, value and headers, as the broker counts them, without its framing."""
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
    #: The group's committed offset; None if there is none.
    committed: int | None
    #: `Inbox.handed_out` reaches this offset when all messages that were here at the assignment were taken.
    end: int


@dataclass(frozen=True, slots=True)
class Assigned:
    """The listener's answer to an assignment: each partition starts or is stopped."""

    #: The offset from which each lane is read.
    starts: Mapping[TopicPartition, int]
    #: Partitions that stay unread until the group assigns them again, and why.
    stopped: Mapping[int, str] = field(default_factory=dict[int, str])


class InboxListener(Protocol):
    """Called by the inbox, always while its owner waits in `Inbox.take` or `Inbox.restart`."""

    async def assigned(self, lanes: Sequence[LaneState]) -> Assigned:
        """Partitions held in *both* inbox topics (PROTOCOL rule 21)."""
        ...

    async def revoked(self, partitions: Sequence[int]) -> None:
        """The partitions are ours until this returns: project, commit, forget."""
        ...

    async def lost(self, partitions: Sequence[int]) -> None:
        """The partitions are no longer ours: forget them, and write nothing."""
        ...


class Inbox(Protocol):
    """The two co-partitioned inbox topics, read by one consumer of the consumer group."""

    @property
    def problem(self) -> str | None:
        """For the health document: why no messages are read; None if all is well."""
        ...

    @property
    def stopped(self) -> Mapping[int, str]:
        """For the health document: stopped partitions, with the reason. The others continue.

        A partition stays stopped until a restart names it or the group assigns it again.
        """
        ...

    async def start(self, listener: InboxListener) -> None: ...

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        """The available messages, at most `limit`, oldest first per lane. Waits only for the first one.

        Raises `Unavailable` when the broker is away (call again).
        """
        ...

    def handed_out(self, lane: TopicPartition) -> int:
        """All messages of the lane below this offset were taken.

        It may be beyond the last message, since not every offset holds a message.
        """
        ...

    @property
    def lag(self) -> int:
        """For the health document: messages still to be taken, as far as the client knows without asking."""
        ...

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        """Commit offsets below which everything is done. After a rebalance it is dropped. Raises `Unavailable`."""
        ...

    async def restart(self, partitions: Sequence[int]) -> None:
        """Restart partitions at the committed offsets: call `lost`, then `assigned`, then read from where that says."""
        ...

    async def close(self) -> None:
        """Leave the group. `revoked` is called first."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimmed:
    """The result of one round of trimming the inbox."""

    #: What this round deleted; more, if other engines trimmed at the same time.
    messages: int
    #: Partitions that could have been trimmed but were not, and why.
    failures: Mapping[TopicPartition, str]


class InboxTrimmer(Protocol):
    """Deletes what is done from the inbox topics, which themselves keep everything (PROTOCOL rule 16)."""

    async def trim(self, starts: Sequence[InboxStart]) -> Trimmed:
        """Delete everything below these stored starts, except what the group has not committed and topics with another
        id. Several engines may call this at once. Raises `Unavailable` if nothing could be found out.
        """
        ...

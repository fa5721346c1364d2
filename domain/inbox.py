"""The inbox of one partition as an aggregate: `inbox:<partition>` (PROTOCOL rule 8).

It remembers the commands that were refused because what they name does not exist, and is the fence of the
partition: its next owner claims it here before anything else.
"""

from __future__ import annotations

from datetime import UTC, datetime

from domain.aggregate.event import CommandRejected, DomainEvent
from domain.aggregate.kind import Decided, Kind, Moment, nothing_follows, settle
from domain.values import Value, changed

PREFIX = "inbox:"
_LONG_AGO = datetime.min.replace(tzinfo=UTC)


def inbox_id(partition: int) -> str:
    return f"{PREFIX}{partition}"


class InboxState(Value):
    """Only how much happened to it: what it remembers of messages is what every aggregate remembers."""

    id: str
    version: int

    @property
    def updated_at(self) -> datetime:
        """It has no time of its own: refusals of different aggregates have no order among them."""
        return _LONG_AGO


class ClaimPartition(Value):
    inbox: str
    partition: int


class RefusedUnknown(CommandRejected):
    """Published as an event of the aggregate that the command named, at version 0 (CONTRACT 6)."""

    aggregate_id: str


class PartitionClaimed(DomainEvent):
    """An engine took the partition over. Nobody asked for it, so it is not published."""

    TYPE = "orchestration.internal.partition-claimed"
    NAME = "PartitionClaimedEvent"
    partition: int


def decide(state: InboxState | None, command: ClaimPartition, at: Moment) -> Decided[InboxState]:
    """A claim is never refused; the fence of the log says whether it came too late."""
    claimed = PartitionClaimed(occurred_at=at.now, partition=command.partition)
    return settle(state, (claimed,), evolve, nothing_follows, command.inbox)


def evolve(state: InboxState | None, _: DomainEvent, inbox: str = "") -> InboxState:
    if state is None:
        return InboxState(id=inbox, version=1)
    return changed(state, version=state.version + 1)


INBOX: Kind[InboxState] = Kind(
    name="inbox",
    prefix=PREFIX,
    events=(RefusedUnknown, PartitionClaimed),
    creating=frozenset({ClaimPartition}),
    decide=decide,
    evolve=evolve,
)

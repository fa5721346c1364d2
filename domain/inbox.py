"""The inbox of one partition as an aggregate: `inbox:<partition>` (PROTOCOL rule 8).

It records commands that were refused because the workflow they name does not exist. It is also the fence of the
partition: a new owner claims the partition here before it does anything else.
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
    """Only a version. Which messages were applied is remembered the same way as for every aggregate."""

    id: str
    version: int

    @property
    def updated_at(self) -> datetime:
        """Always the earliest time: refusals for different aggregates have no order among them."""
        return _LONG_AGO


class ClaimPartition(Value):
    inbox: str
    partition: int


class RefusedUnknown(CommandRejected):
    """Published as an event of the aggregate that the command named, at version 0 (CONTRACT 6)."""

    aggregate_id: str


class PartitionClaimed(DomainEvent):
    """An engine took the partition over. No command asked for it, so it is not published."""

    TYPE = "orchestration.internal.partition-claimed"
    NAME = "PartitionClaimedEvent"
    partition: int


def decide(state: InboxState | None, command: ClaimPartition, at: Moment) -> Decided[InboxState]:
    """A claim is never refused here; the fence of the log detects whether it came too late."""
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

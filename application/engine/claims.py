"""Claiming partitions: the first thing that a takeover writes (PROTOCOL rule 8).

The refusal of a command for an unknown workflow is a commit of `inbox:<partition>`. An engine that lost the
partition without knowing it may still append such a commit. The fence refuses it only after the new owner has
written to the same aggregate. So the new owner writes a claim before it decides anything. It reads and respects what
was appended before the claim. A later append meets the fence, and its engine restarts.

A late acceptance is fenced by the workflow's id, but only if the new owner accepted the same start. It would refuse it
if it did not find the definition. So a start is only accepted on definitions that were registered at the last claim,
which the next owner will find too. For any other definition, the partition is claimed again first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from conveyor import topics

from application.aggregates.inbox import INBOX
from application.codec.events import record
from application.codec.internal import SOURCE
from application.engine.environment import Ports
from application.engine.hot import Hot
from application.engine.loader import Loader, remembered
from application.engine.memory import Memory
from application.engine.partition import Partition
from application.ports import Commit, Entry, Unavailable
from domain.aggregate.kind import Moment
from domain.aggregate.position import Position
from domain.inbox import ClaimPartition, InboxState, decide, inbox_id

#: Waits until a majority has the commit that preceded a claim, about five seconds in all.
_ATTEMPTS_MAX = 50


class Fenced(Exception):
    """Another engine writes to this partition's inbox aggregate: the partition must restart."""


class Claims:
    """Reads the inboxes of partitions and fences off their previous owners."""

    def __init__(
        self, ports: Ports, loader: Loader, back_off: Callable[[], Awaitable[None]]
    ) -> None:
        self._ports = ports
        self._loader = loader
        #: Waits after a conflict.
        self._back_off = back_off

    async def claim(self, partitions: Mapping[int, Partition]) -> list[Commit]:
        """Claim the partitions; each then has its inbox up to and including our claim.

        Returns the commits before it that the projections do not have. Raises Unavailable.
        """
        tails: dict[str, Sequence[Commit]] = {}
        unclaimed: Sequence[int] = list(partitions)
        for _ in range(_ATTEMPTS_MAX):
            names = {inbox_id(number): number for number in unclaimed}
            for name, loaded in (await self._loader.load(names)).items():
                partitions[names[name]].put_back(loaded.hot)
                tails[name] = loaded.tail
            unclaimed = await self._append([partitions[number] for number in unclaimed])
            if not unclaimed:
                return [commit for tail in tails.values() for commit in tail]
            await self._back_off()
        # After a fail-over that may never happen: what only the old primary had is lost, and every partition restarts.
        raise Unavailable(
            "eventStore", f"a majority never showed who writes to {inbox_id(unclaimed[0])}"
        )

    async def renew(self, partitions: Sequence[Partition]) -> None:
        """Claim our partitions again. Raises Fenced if another engine has claimed one, or refused a command there."""
        if await self._append(partitions):
            raise Fenced

    async def _append(self, partitions: Sequence[Partition]) -> list[int]:
        """Append all claims in one insert. Returns the partitions where another engine appended first."""
        claims = [self._claim_of(partition) for partition in partitions]
        written = await self._ports.event_log.append([commit for commit, _ in claims])
        forestalled: list[int] = []
        for partition, (commit, state), is_written in zip(partitions, claims, written, strict=True):
            if not is_written:
                forestalled.append(partition.number)
                continue
            hot = partition.inbox or Hot(INBOX, state, Memory())
            hot.state = state
            hot.memory = remembered(hot.memory, commit.entries[0])
            partition.put_back(hot)
        return forestalled

    def _claim_of(self, partition: Partition) -> tuple[Commit, InboxState]:
        """A claim. Its recorded cause is the last command that was done, because no command causes a claim."""
        name, number = inbox_id(partition.number), partition.number
        state = partition.inbox.state if partition.inbox is not None else None
        command = ClaimPartition(inbox=name, partition=number)
        decided = decide(state, command, Moment(self._ports.clock.now()))
        done = Position(
            partition.topic_ids[topics.COMMANDS],
            topics.COMMANDS,
            number,
            0,
            partition.decided[topics.COMMANDS] - 1,
        )
        event = record(INBOX, decided.events[0], decided.state, decided.state.version)
        entry = Entry(done, f"{SOURCE} {event.head.event_id}", (event,), decided.primary)
        return Commit(name, decided.state.version, number, (entry,)), decided.state

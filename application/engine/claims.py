"""Claiming partitions: the first thing that a takeover writes (PROTOCOL rule 8).

A refusal without a workflow is a commit of `inbox:<partition>`. An engine that lost the partition and does not
know it may still be about to append one there; the fence refuses it only once the new owner has written
itself. So the new owner writes a claim before it decides anything. What landed before the claim is read and
stands; what comes after it meets the fence, and its engine begins again.

The other way round, an acceptance that comes late is fenced by its workflow's id only if the new owner accepted too,
which refuses what it finds no definition for. So a start is accepted only on definitions that were registered when
the partition was claimed last: its next owner finds them as well. Where a start finds another one,
the partition is claimed again first.
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

#: Until a majority shows what forestalled a claim, about five seconds in all.
_ATTEMPTS_MAX = 50


class Fenced(Exception):
    """Another engine writes to this partition's own aggregate: begin it again."""


class Claims:
    """Reads the inboxes of partitions and closes them to their previous owners."""

    def __init__(
        self, ports: Ports, loader: Loader, back_off: Callable[[], Awaitable[None]]
    ) -> None:
        self._ports = ports
        self._loader = loader
        #: Waits after a conflict.
        self._back_off = back_off

    async def claim(self, partitions: Mapping[int, Partition]) -> list[Commit]:
        """Each partition has its inbox up to and including our claim.

        Returns the commits before it that the projections do not have. Raises Unavailable.
        """
        tails: dict[str, Sequence[Commit]] = {}
        unclaimed: Sequence[int] = list(partitions)
        for _ in range(_ATTEMPTS_MAX):
            names = {inbox_id(number): number for number in unclaimed}
            for name, loaded in (await self._loader.load(list(names))).items():
                partitions[names[name]].put_back(loaded.hot)
                tails[name] = loaded.tail
            unclaimed = await self._append([partitions[number] for number in unclaimed])
            if not unclaimed:
                return [commit for tail in tails.values() for commit in tail]
            await self._back_off()
        # After a fail-over that may be for ever: what only the old primary had is gone, and all begins again.
        raise Unavailable(
            "eventStore", f"a majority never showed who writes to {inbox_id(unclaimed[0])}"
        )

    async def renew(self, partitions: Sequence[Partition]) -> None:
        """Claim again what is ours. Raises Fenced if another engine has claimed one of them, or refused there."""
        if await self._append(partitions):
            raise Fenced

    async def _append(self, partitions: Sequence[Partition]) -> list[int]:
        """One insert for all; returns those that another engine forestalled."""
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
        """Caused by the last command that was done before: no command is decided by a claim."""
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

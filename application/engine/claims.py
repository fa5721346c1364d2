"""Claiming partitions: the first thing that a takeover writes (PROTOCOL rule 8).

A refusal without a workflow is a commit of `inbox:<partition>`. An engine that lost the partition and does not
know it may still be about to append one there; the fence refuses it only once the new owner has written
itself. So the new owner writes a claim before it decides anything. What landed before the claim is read and
stands; what comes after it meets the fence, and its engine begins again.

The other way round, an acceptance that comes late is fenced by its workflow's id only if the new owner accepted too,
which refuses what it finds no definition for. So a start is accepted only on definitions that were registered when
the partition was claimed last: whoever claims it after that finds them as well. Where a start finds another one,
the partition is claimed again first.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping, Sequence

from conveyor import topics

from application.codec.events import SOURCE, record_claim
from application.engine.environment import Ports
from application.engine.hot import Partition, inbox_id
from application.engine.loader import Loader, fold_refusals
from application.ports import Commit, Entry, Unavailable
from domain.aggregate.position import Position

#: Until a majority shows what forestalled a claim, about five seconds in all.
_ATTEMPTS_MAX = 50


class Fenced(Exception):
    """Another engine writes to this partition's own aggregate: begin it again."""


class Claims:
    """Reads the refusals of partitions and closes them to whoever had the partitions before."""

    def __init__(
        self, ports: Ports, loader: Loader, back_off: Callable[[], Awaitable[None]]
    ) -> None:
        self._ports = ports
        self._loader = loader
        #: Waits after a conflict.
        self._back_off = back_off

    async def claim(self, partitions: Mapping[int, Partition]) -> list[Commit]:
        """Each partition has its refusals up to and including our claim.

        Answers the commits before it that the projections do not have. Raises Unavailable.
        """
        tails: dict[int, Sequence[Commit]] = {}
        unclaimed: Sequence[int] = list(partitions)
        for _ in range(_ATTEMPTS_MAX):
            for number, (refusals, tail) in (await self._loader.refusals(unclaimed)).items():
                partitions[number].refusals, tails[number] = refusals, tail
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
        """One insert for all; answers those that another engine forestalled."""
        claims = [self._claim_of(partition) for partition in partitions]
        written = await self._ports.event_log.append(claims)
        forestalled: list[int] = []
        for partition, claim, is_written in zip(partitions, claims, written, strict=True):
            if is_written:
                fold_refusals(partition.refusals, claim)
            else:
                forestalled.append(partition.number)
        return forestalled

    def _claim_of(self, partition: Partition) -> Commit:
        """Caused by the last command that was done before: no command is decided by a claim."""
        name, version = inbox_id(partition.number), partition.refusals.version + 1
        done = Position(
            partition.topic_ids[topics.COMMANDS],
            topics.COMMANDS,
            partition.number,
            0,
            partition.decided[topics.COMMANDS] - 1,
        )
        event = record_claim(partition.number, name, version, self._ports.clock.now())
        entry = Entry(done, f"{SOURCE} {event.data['eventId']}", (event,))
        return Commit(name, version, partition.number, (entry,))

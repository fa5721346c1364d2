"""The system with one rule switched off: the checks must notice, or they check nothing.

A mutant exchanges a part of the world for one that breaks a rule, and names the seeds that find it.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from conveyor.keys import KeyRecord

from adapters.memory.event_log import MemoryEventLog
from adapters.memory.inbox import MemoryInbox
from application.ports import Commit, Received
from domain.position import TopicPartition
from tests.simulation.participants import KeyRecords
from tests.simulation.world import Parts


@dataclass(frozen=True, slots=True)
class Mutant:
    """One rule less."""

    name: str
    parts: Parts
    #: Among these it is found; chosen once, so that the test is quick.
    seeds: range


class _Overwriting(MemoryEventLog):
    """A second writer of a version replaces the first one's commit."""

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        for commit in commits:
            earlier = self._commits.pop(commit.id, None)
            if earlier is not None:
                self._by_workflow[commit.workflow_id].remove(earlier)
        return await super().append(commits)


class _Hasty(MemoryInbox):
    """Commits what it hands out before anybody has looked at it."""

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        taken = await super().take(limit, wait_seconds)
        await self.commit(
            {
                TopicPartition(each.position.topic, each.position.partition): each.position.offset
                + 1
                for each in taken
            }
        )
        return taken


class _Forgetful(KeyRecords):
    """Remembers nothing of a key once it has answered."""

    def record(self, key: str) -> KeyRecord:
        return KeyRecord()


MUTANTS = (
    Mutant("an append overwrites", Parts(event_log=_Overwriting), range(8)),
    Mutant("offsets are committed before the append", Parts(inbox=_Hasty), range(8)),
    Mutant("a participant forgets its keys", Parts(keys=_Forgetful), range(8)),
)


def parts_of(name: str | None) -> Parts:
    """The world's parts with this rule switched off; None: as they are."""
    return Parts() if name is None else next(m.parts for m in MUTANTS if m.name == name)

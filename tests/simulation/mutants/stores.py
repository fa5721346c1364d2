"""Stores, topics and their clients that do not keep what the engine relies on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence

from conveyor.messages import Message, Record

from adapters.memory.event_log import MemoryEventLog
from adapters.memory.hot_state import MemoryHotState
from adapters.memory.inbox import MemoryInbox
from adapters.memory.projections import MemoryProjections
from application.ports import Commit, Document, Received, Unavailable
from domain.aggregate.position import TopicPartition
from tests.simulation.faulty_messaging import FaultyPublisher
from tests.simulation.faulty_stores import FaultyEventLog, ReplicatedLog
from tests.simulation.mutants.mutant import Mutant
from tests.simulation.world import Parts


class _Overwriting(MemoryEventLog):
    """A second writer of a version replaces the first one's commit."""

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        for commit in commits:
            earlier = self._commits.pop(commit.id, None)
            if earlier is not None:
                self._by_workflow[commit.aggregate_id].remove(earlier)
        return await super().append(commits)


class _OnePerMessage(MemoryEventLog):
    """Each message's events are a document of their own; those that are refused do not stop the others."""

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        answers: list[bool] = []
        for commit in commits:
            version, written = commit.first_version, True
            for entry in commit.entries:
                single = Commit(commit.aggregate_id, version, commit.partition, (entry,))
                written = self._insert(single) and written
                version = single.last_version + 1
            answers.append(written)
        return answers


class _KeyedByLastVersion(MemoryEventLog):
    """A commit is refused where another one ends at the same version, not where it begins there."""

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        return [self._insert_by_end(commit) for commit in commits]

    def _insert_by_end(self, commit: Commit) -> bool:
        known = self._by_workflow.get(commit.aggregate_id, ())
        if any(other.last_version == commit.last_version for other in known):
            return False
        earlier = self._commits.pop(commit.id, None)
        if earlier is not None:
            self._by_workflow[commit.aggregate_id].remove(earlier)
        return self._insert(commit)


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


class _Careless(MemoryProjections):
    """An older version replaces a newer one."""

    async def save(self, documents: Sequence[Document]) -> None:
        for document in documents:
            self.documents[document["_id"]] = document


class _CarelessHot(MemoryHotState):
    """As that, for fast readers."""

    async def save(self, documents: Sequence[Document]) -> None:
        self._versions.clear()
        await super().save(documents)


class _Local(ReplicatedLog):
    """Reads show what the primary has, whoever else has it."""

    def shown(self, commits: Iterable[Commit]) -> list[Commit]:
        return list(commits)

    def chain(self, commits: Iterable[Commit]) -> list[Commit]:
        return list(commits)


class _Hopeful(FaultyEventLog):
    """An append without an answer is taken as written."""

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        try:
            return await super().append(commits)
        except Unavailable:
            return [True] * len(commits)


class _Unheeding(FaultyEventLog):
    """The answers per commit are not looked at: what the fence refused is taken as written too."""

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        return [True for _ in await super().append(commits)]


class _Tailless(FaultyEventLog):
    """Nothing is read behind the projection."""

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        await super().read(after)
        return {}


class _Negligent(FaultyPublisher):
    """An error of delivery is passed over."""

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        try:
            await super().publish(messages)
        except Unavailable:
            return


class _Persistent(FaultyPublisher):
    """What was not delivered is sent again later, behind what was sent meanwhile."""

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        try:
            await super().publish(messages)
        except Unavailable:
            self._network.later(0.5, lambda: self._again(messages))

    def _again(self, messages: Sequence[Message | Record]) -> None:
        for record in self.encoded(messages):
            self.write(record)


MUTANTS = (
    Mutant(
        name="fence-off",
        rule=0,
        what="a second writer of a version overwrites the first one's commit",
        parts=Parts(event_log=_Overwriting),
    ),
    Mutant(
        name="offsets-before-append",
        rule=0,
        what="offsets are committed when messages are taken",
        parts=Parts(inbox=_Hasty),
    ),
    Mutant(
        name="commit-per-message",
        rule=5,
        what="the changes of one instance in one batch are several documents",
        parts=Parts(event_log=_OnePerMessage),
    ),
    Mutant(
        name="commit-keyed-by-last-version",
        rule=5,
        what="the fence is on the last version of a commit, not on its first",
        parts=Parts(event_log=_KeyedByLastVersion),
    ),
    Mutant(
        name="publish-errors-ignored",
        rule=7,
        what="after a delivery error the engine goes on as if all had been sent",
        parts=Parts(publisher=_Negligent),
    ),
    Mutant(
        name="publish-later",
        rule=7,
        what="what was not delivered is sent again later, and the engine goes on meanwhile",
        parts=Parts(publisher=_Persistent),
    ),
    Mutant(
        name="projection-overwritten-by-older",
        rule=12,
        what="a projection is written whatever version is there",
        parts=Parts(projections=_Careless),
    ),
    Mutant(
        name="hot-state-overwritten-by-older",
        rule=12,
        what="a hot state is written whatever version is there",
        parts=Parts(hot_state=_CarelessHot),
    ),
    Mutant(
        name="load-without-tail",
        rule=12,
        what="an instance is loaded from its projection alone",
        parts=Parts(append=_Tailless),
    ),
    Mutant(
        name="local-reads",
        rule=14,
        what="reads show commits that no majority has",
        parts=Parts(replicated_log=_Local),
    ),
    Mutant(
        name="refused-append-taken-as-written",
        rule=14,
        what="an append that the fence refused is taken as done",
        parts=Parts(append=_Unheeding),
    ),
    Mutant(
        name="unknown-append-taken-as-written",
        rule=14,
        what="an append without an answer is taken as done",
        parts=Parts(append=_Hopeful),
    ),
)

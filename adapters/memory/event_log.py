"""The event log in a dictionary."""

from __future__ import annotations

from collections.abc import Callable, Collection, Iterable, Mapping, Sequence

from application.ports import Commit, Entry, commit_id
from domain.aggregate.position import Position


class MemoryEventLog:
    """`EventLog` in memory."""

    def __init__(self) -> None:
        self._commits: dict[str, Commit] = {}
        self._by_workflow: dict[str, list[Commit]] = {}

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        return [self._insert(commit) for commit in commits]

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        chains = {
            aggregate_id: self._chain(aggregate_id, version)
            for aggregate_id, version in after.items()
        }
        return {aggregate_id: chain for aggregate_id, chain in chains.items() if chain}

    async def since(self, starts: Sequence[Position]) -> Sequence[Commit]:
        lowest = {
            lane: min(start.offset for start in starts if start.lane == lane)
            for lane in {start.lane for start in starts}
        }

        def follows(commit: Commit) -> bool:
            causes = (entry.cause for entry in commit.entries)
            return any(
                cause.lane in lowest and cause.offset >= lowest[cause.lane] for cause in causes
            )

        return _in_order(self._commits.values(), follows)

    async def history(self, aggregate_id: str, after_version: int, limit: int) -> Sequence[Commit]:
        commits = self._by_workflow.get(aggregate_id, ())
        return _in_order(commits, lambda commit: commit.last_version > after_version)[:limit]

    async def find_messages(
        self, aggregate_id: str, message_ids: Collection[str]
    ) -> Mapping[str, Entry]:
        commits = self._by_workflow.get(aggregate_id, ())
        entries = (entry for commit in commits for entry in commit.entries)
        return {entry.message_id: entry for entry in entries if entry.message_id in message_ids}

    async def confirm_absent(self, aggregate_ids: Sequence[str]) -> frozenset[str]:
        return frozenset(aggregate_ids).difference(self._by_workflow)

    def in_order(self) -> Sequence[Commit]:
        """Every commit, by workflow id and version."""
        return _in_order(self._commits.values(), lambda _: True)

    def _insert(self, commit: Commit) -> bool:
        if commit.id in self._commits:
            return False
        self._commits[commit.id] = commit
        self._by_workflow.setdefault(commit.aggregate_id, []).append(commit)
        return True

    def _chain(self, aggregate_id: str, version: int) -> list[Commit]:
        chain: list[Commit] = []
        commit = self._commits.get(commit_id(aggregate_id, version + 1))
        while commit is not None:
            chain.append(commit)
            commit = self._commits.get(commit_id(aggregate_id, commit.last_version + 1))
        return chain


def _in_order(commits: Iterable[Commit], wanted: Callable[[Commit], bool]) -> list[Commit]:
    return sorted(
        filter(wanted, commits), key=lambda commit: (commit.aggregate_id, commit.first_version)
    )

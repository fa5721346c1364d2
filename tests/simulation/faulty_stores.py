"""The stores' ports: memory stores shared by all processes, behind the network of one of them."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Collection, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import TypeVar

from adapters.memory.event_log import MemoryEventLog
from adapters.memory.hot_state import MemoryHotState
from adapters.memory.projections import MemoryProjections
from adapters.memory.virtual_time import drive
from application.ports import Commit, Document, Entry, InboxLayout, InboxStart, Mark, Unavailable
from domain.aggregate.position import Position
from tests.simulation.chances import Chances, Kind
from tests.simulation.faults import Network, Process, Weather
from tests.simulation.watch import Watch

T = TypeVar("T")
#: More commits than any instance has here.
_ALL = 1_000_000


class ReplicatedLog:
    """The log on several nodes: the primary refuses duplicates at once, a majority has a commit later or never."""

    def __init__(self, chances: Chances, weather: Weather, stored: MemoryEventLog, watch: Watch):
        self.stored = stored
        self._chances = chances
        self._weather = weather
        self._watch = watch
        self._known: dict[str, Commit] = {}
        #: Commits that only the primary has, with what their writers wait for.
        self._waiting: dict[str, asyncio.Future[bool]] = {}

    def append(
        self, commits: Sequence[Commit], *, is_late: bool
    ) -> tuple[Sequence[bool], list[asyncio.Future[bool]]]:
        """As the port says, and what tells of those that are not safe yet: a majority has it, or nobody.

        `is_late`: their engine has given up on them.
        """
        if is_late:
            self._watch.late.update(commit.id for commit in commits)
        written = drive(self.stored.append(commits))
        waiting: list[asyncio.Future[bool]] = []
        for commit in self._new():
            self._known[commit.id] = commit
            if self._chances.strikes(Kind.MAJORITY_LAGS, self._weather.lagging):
                safe = asyncio.get_running_loop().create_future()
                self._waiting[commit.id] = safe
                waiting.append(safe)
                lag = self._chances.stream("lag").choice((0.02, 0.4, 0.8))
                asyncio.get_running_loop().call_later(lag, self._replicated, commit)
            else:
                self._watch.appended(commit)
        return written, waiting

    def _new(self) -> list[Commit]:
        """What the store holds since we last looked, oldest first."""
        fresh = takewhile(
            lambda commit: self._known.get(commit.id) is not commit,
            reversed(self.stored._commits.values()),
        )
        return list(fresh)[::-1]

    def _replicated(self, commit: Commit) -> None:
        # It may be gone, and another one in its place.
        if self._known.get(commit.id) is commit:
            self._watch.appended(commit)
            _tell(self._waiting.pop(commit.id), is_safe=True)

    def hold_back(self, commit: Commit) -> None:
        """Somebody's commit that only the primary has, until it fails over."""
        drive(self.stored.append([commit]))
        self._known[commit.id] = commit
        self._waiting[commit.id] = asyncio.get_running_loop().create_future()

    def fail_over(self) -> int:
        """Another node leads; what only the old primary had is gone. Says how many commits that were."""
        lost, self._waiting = self._waiting, {}
        for key, safe in lost.items():
            commit = self._known.pop(key)
            del self.stored._commits[key]
            self.stored._by_workflow[commit.aggregate_id].remove(commit)
            if not self.stored._by_workflow[commit.aggregate_id]:
                del self.stored._by_workflow[commit.aggregate_id]
            _tell(safe, is_safe=False)
        return len(lost)

    def shown(self, commits: Iterable[Commit]) -> list[Commit]:
        """Those that a majority has."""
        return list(filter(self._is_shown, commits))

    def chain(self, commits: Iterable[Commit]) -> list[Commit]:
        """Those before the first that a majority does not have."""
        return list(takewhile(self._is_shown, commits))

    def _is_shown(self, commit: Commit) -> bool:
        return commit.id not in self._waiting


def _tell(safe: asyncio.Future[bool], *, is_safe: bool) -> None:
    # Whoever waited may have died.
    if not safe.done():
        safe.set_result(is_safe)


class FaultyEventLog:
    """`EventLog` of one engine."""

    def __init__(self, log: ReplicatedLog, process: Process, network: Network) -> None:
        self._log = log
        self._process = process
        self._network = network

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        if not commits:
            return []

        def act(partly: bool) -> tuple[Sequence[bool], list[asyncio.Future[bool]]]:
            dice = self._network.dice
            arriving = [c for c in commits if dice.random() < 0.5] if partly else commits
            answer = self._log.append(arriving, is_late=self._network.is_late)
            for commit, is_written in zip(arriving, answer[0], strict=True):
                self._note(commit, is_written)
            return answer

        written, waiting = await self._network.write(self._process, "eventStore", act, "append")
        if waiting:
            are_safe = await asyncio.gather(*waiting)
            await self._process.checkpoint()
            if not all(are_safe):
                raise Unavailable("eventStore", "append: the primary is no primary any more")
        return written

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        def look() -> Mapping[str, Sequence[Commit]]:
            found = drive(self._log.stored.read(after))
            return {key: self._log.chain(commits) for key, commits in found.items()}

        return await self._read(look)

    async def since(self, starts: Sequence[Position]) -> Sequence[Commit]:
        return await self._read(lambda: self._log.shown(drive(self._log.stored.since(starts))))

    async def history(self, aggregate_id: str, after_version: int, limit: int) -> Sequence[Commit]:
        return await self._read(
            lambda: self._log.chain(
                drive(self._log.stored.history(aggregate_id, after_version, limit))
            )
        )

    async def find_messages(
        self, aggregate_id: str, message_ids: Collection[str]
    ) -> Mapping[str, Entry]:
        def look() -> Mapping[str, Entry]:
            """As every read, of what a majority has (PROTOCOL rule 14)."""
            commits = drive(self._log.stored.history(aggregate_id, 0, _ALL))
            entries = (entry for commit in self._log.shown(commits) for entry in commit.entries)
            return {entry.message_id: entry for entry in entries if entry.message_id in message_ids}

        return await self._read(look)

    async def confirm_absent(self, aggregate_ids: Sequence[str]) -> frozenset[str]:
        return await self._read(lambda: drive(self._log.stored.confirm_absent(aggregate_ids)))

    async def _read(self, look: Callable[[], T]) -> T:
        return await self._network.read(self._process, "eventStore", look)

    def _note(self, commit: Commit, is_written: bool) -> None:
        if self._network.trace.is_kept:
            told = " ".join(
                f"{entry.cause.topic.rpartition('.')[2]}@{entry.cause.offset}"
                f"[{','.join(event.data['eventType'] for event in entry.events)}]"
                for entry in commit.entries
            )
            outcome = "appended" if is_written else "REFUSED"
            self._network.trace.note(self._process.name, f"{outcome} {commit.id} {told}")


class FaultyProjections:
    """`Projections` of one engine."""

    def __init__(
        self, projections: MemoryProjections, process: Process, network: Network, watch: Watch
    ) -> None:
        self._projections = projections
        self._process = process
        self._network = network
        self._watch = watch

    async def load(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return await self._read(lambda: drive(self._projections.load(ids)))

    async def save(self, documents: Sequence[Document]) -> None:
        ordered = sorted(documents, key=lambda document: document["_id"])
        is_calm = self._network.weather.is_clear

        def act(partly: bool) -> None:
            dice = self._network.dice
            arriving = [d for d in ordered if dice.random() < 0.5] if partly else ordered
            drive(self._projections.save(arriving))
            for document in arriving:
                stored = self._projections.documents[document["_id"]]
                self._watch.projected(stored, is_calm=is_calm)
            if not self._network.trace.is_kept:
                return
            told = ", ".join(f"{d['_id']} v{d['version']}" for d in arriving)
            self._network.trace.note(self._process.name, f"projected {told}")

        await self._network.write(self._process, "eventStore", act, "project")

    async def due(self, partition: int, before: datetime, limit: int) -> Sequence[str]:
        return await self._read(lambda: drive(self._projections.due(partition, before, limit)))

    async def starts(self) -> Sequence[InboxStart]:
        return await self._read(lambda: drive(self._projections.starts()))

    async def save_starts(self, starts: Sequence[InboxStart]) -> None:
        def act(partly: bool) -> None:
            drive(self._projections.save_starts(starts[: len(starts) // 2] if partly else starts))

        await self._network.write(self._process, "eventStore", act, "starts")

    async def layout(self) -> InboxLayout | None:
        return await self._projections.layout()

    async def marks(self) -> Sequence[Mark]:
        return await self._read(lambda: drive(self._projections.marks()))

    async def save_marks(self, marks: Sequence[Mark]) -> None:
        def act(partly: bool) -> None:
            arriving = marks[: len(marks) // 2] if partly else marks
            drive(self._projections.save_marks(arriving))
            stored = drive(self._projections.marks())
            for mark in arriving:
                if mark in stored:
                    self._watch.marked(self._process.name, mark)

        await self._network.write(self._process, "eventStore", act, "marks")

    async def save_layout(self, layout: InboxLayout) -> None:
        await self._projections.save_layout(layout)

    async def _read(self, look: Callable[[], T]) -> T:
        return await self._network.read(self._process, "eventStore", look)


class FaultyHotState:
    """`HotState` of one engine."""

    def __init__(
        self, hot_state: MemoryHotState, process: Process, network: Network, watch: Watch
    ) -> None:
        self._hot_state = hot_state
        self._process = process
        self._network = network
        self._watch = watch

    async def save(self, documents: Sequence[Document]) -> None:
        # Engines have them in sets.
        ordered = sorted(documents, key=lambda document: document["_id"])

        def act(partly: bool) -> None:
            arriving = ordered[: len(ordered) // 2] if partly else ordered
            drive(self._hot_state.save(arriving))
            for document in arriving:
                self._watch.warmed(document, self._hot_state.states.get(document["_id"]))

        await self._network.write(self._process, "redis", act, "hot state")

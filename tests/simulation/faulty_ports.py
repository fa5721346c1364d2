"""The engine's ports: memory stores shared by all engines, behind the network of one process."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from datetime import datetime
from itertools import takewhile
from typing import TypeVar

from conveyor import topics
from conveyor.cloudevents import encode
from conveyor.messages import Message, Record

from adapters.memory.broker import MemoryBroker
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.hot_state import MemoryHotState
from adapters.memory.inbox import MemoryInbox
from adapters.memory.projections import MemoryProjections
from adapters.partitioner import partition_for
from application.ports import (
    Commit,
    Document,
    Entry,
    InboxLayout,
    InboxListener,
    InboxStart,
    Received,
    RecordedEvent,
)
from domain.position import Position, TopicPartition
from tests.simulation.faults import MILLISECOND, Network, Process
from tests.simulation.loop import drive

T = TypeVar("T")


class ReplicatedLog:
    """The log on several nodes: the primary refuses duplicates at once, a majority shows a commit later."""

    def __init__(self, network: Network, stored: MemoryEventLog) -> None:
        self.stored = stored
        self._network = network
        self._visible_at: dict[str, float] = {}

    def append(self, commits: Sequence[Commit]) -> tuple[Sequence[bool], float]:
        """As the port says, and how long a majority takes."""
        written = drive(self.stored.append(commits))
        lag = self._network.rng.choice((0.0, 0.0, 20 * MILLISECOND, 400 * MILLISECOND))
        visible_at = asyncio.get_running_loop().time() + lag
        for commit, is_written in zip(commits, written, strict=True):
            if is_written:
                self._visible_at[commit.id] = visible_at
        return written, lag

    def shown(self, commits: Iterable[Commit]) -> list[Commit]:
        """Those that a majority has."""
        return list(filter(self._is_shown, commits))

    def chain(self, commits: Iterable[Commit]) -> list[Commit]:
        """Those before the first that a majority does not have."""
        return list(takewhile(self._is_shown, commits))

    def _is_shown(self, commit: Commit) -> bool:
        return self._visible_at[commit.id] <= asyncio.get_running_loop().time()


class FaultyEventLog:
    """`EventLog` of one engine."""

    def __init__(self, log: ReplicatedLog, process: Process, network: Network) -> None:
        self._log = log
        self._process = process
        self._network = network

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        if not commits:
            return []

        def act(partly: bool) -> tuple[Sequence[bool], float]:
            rng = self._network.rng
            arriving = [c for c in commits if rng.random() < 0.5] if partly else commits
            answer = self._log.append(arriving)
            for commit, is_written in zip(arriving, answer[0], strict=True):
                self._note(commit, is_written)
            return answer

        written, lag = await self._network.write(self._process, "eventStore", act, "append")
        await asyncio.sleep(lag)
        await self._process.checkpoint()
        return written

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        def look() -> Mapping[str, Sequence[Commit]]:
            found = drive(self._log.stored.read(after))
            return {key: self._log.chain(commits) for key, commits in found.items()}

        return await self._read(look)

    async def since(self, starts: Sequence[Position]) -> Sequence[Commit]:
        return await self._read(lambda: self._log.shown(drive(self._log.stored.since(starts))))

    async def history(self, workflow_id: str, after_version: int, limit: int) -> Sequence[Commit]:
        return await self._read(
            lambda: self._log.chain(
                drive(self._log.stored.history(workflow_id, after_version, limit))
            )
        )

    async def find_message(self, workflow_id: str, message_id: str) -> Entry | None:
        def look() -> list[Entry | None]:
            return [drive(self._log.stored.find_message(workflow_id, message_id))]

        return (await self._read(look))[0]

    async def confirm_absent(self, workflow_ids: Sequence[str]) -> frozenset[str]:
        return await self._read(lambda: drive(self._log.stored.confirm_absent(workflow_ids)))

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

    def __init__(self, projections: MemoryProjections, process: Process, network: Network) -> None:
        self._projections = projections
        self._process = process
        self._network = network

    async def load(self, ids: Sequence[str]) -> Mapping[str, Document]:
        return await self._read(lambda: drive(self._projections.load(ids)))

    async def save(self, documents: Sequence[Document]) -> None:
        ordered = sorted(documents, key=lambda document: document["_id"])

        def act(partly: bool) -> None:
            rng = self._network.rng
            arriving = [d for d in ordered if rng.random() < 0.5] if partly else ordered
            before = drive(self._projections.load([d["_id"] for d in arriving]))
            drive(self._projections.save(arriving))
            for key, document in drive(self._projections.load(list(before))).items():
                if document["version"] < before[key]["version"]:
                    self._network.broken.append(f"the projection of {key} went backwards")
            told = ", ".join(f"{d['_id']} v{d['version']}" for d in arriving)
            self._network.trace.note(self._process.name, f"projected {told}")

        await self._network.write(self._process, "eventStore", act, "project")

    async def due(self, partition: int, before: datetime, limit: int) -> Sequence[Document]:
        return await self._read(lambda: drive(self._projections.due(partition, before, limit)))

    async def starts(self) -> Sequence[InboxStart]:
        return await self._read(lambda: drive(self._projections.starts()))

    async def save_starts(self, starts: Sequence[InboxStart]) -> None:
        def act(partly: bool) -> None:
            drive(self._projections.save_starts(starts[: len(starts) // 2] if partly else starts))

        await self._network.write(self._process, "eventStore", act, "starts")

    async def layout(self) -> InboxLayout | None:
        return await self._projections.layout()

    async def save_layout(self, layout: InboxLayout) -> None:
        await self._projections.save_layout(layout)

    async def _read(self, look: Callable[[], T]) -> T:
        return await self._network.read(self._process, "eventStore", look)


class FaultyHotState:
    """`HotState` of one engine."""

    def __init__(self, hot_state: MemoryHotState, process: Process, network: Network) -> None:
        self._hot_state = hot_state
        self._process = process
        self._network = network

    async def save(self, documents: Sequence[Document]) -> None:
        def act(partly: bool) -> None:
            drive(self._hot_state.save(documents))

        await self._network.write(self._process, "redis", act, "hot state")


class FaultyInbox:
    """`Inbox` of one engine or, on request topics, of one participant's process."""

    def __init__(self, inbox: MemoryInbox, process: Process, network: Network) -> None:
        self.inner = inbox
        self._process = process
        self._network = network
        self._sent = self._landed = 0

    @property
    def problem(self) -> str | None:
        return self.inner.problem

    async def start(self, listener: InboxListener) -> None:
        await self.inner.start(listener)

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        await self._network.read(self._process, "kafka", lambda: True)
        limit = min(limit, self._network.rng.choice((1, 3, 10, 1000)))
        taken = await self.inner.take(limit, wait_seconds)
        await self._process.checkpoint()
        if taken and self._network.trace.is_kept:
            told = " ".join(_told(received) for received in taken)
            self._network.trace.note(self._process.name, f"took {told}")
        return taken

    async def commit(self, next_offsets: Mapping[TopicPartition, int]) -> None:
        self._sent += 1
        number, generation = self._sent, self.inner.generation

        def act(partly: bool) -> None:
            # One connection: what was sent before does not arrive after.
            if number < self._landed or generation != self.inner.generation:
                return
            self._landed = number
            drive(self.inner.commit(next_offsets))
            told = " ".join(
                f"{p.topic.rpartition('.')[2]}-{p.partition}@{at}" for p, at in next_offsets.items()
            )
            self._network.trace.note(self._process.name, f"committed {told}")

        await self._network.write(self._process, "kafka", act, "commit")

    async def restart(self, partitions: Sequence[int]) -> None:
        await self._network.read(self._process, "kafka", lambda: True)
        self._network.trace.note(self._process.name, f"restarts {list(partitions)}")
        await self.inner.restart(partitions)

    async def close(self) -> None:
        await self._process.checkpoint()
        await self.inner.close()


def _told(received: Received) -> str:
    message = received.message
    name = message.id if isinstance(message, Message) else "malformed"
    position = received.position
    return f"{position.topic.rpartition('.')[2]}-{position.partition}@{position.offset}:{name}"


class FaultyPublisher:
    """`PublishEventPort` of one process: a call that fails has written some of its partitions' beginnings."""

    def __init__(self, broker: MemoryBroker, process: Process, network: Network) -> None:
        self._broker = broker
        self._process = process
        self._network = network

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        if not messages:
            return
        records = [encode(m) if isinstance(m, Message) else m for m in messages]

        def act(partly: bool) -> None:
            for record in self._beginnings(records) if partly else records:
                self._write(record)

        await self._network.write(self._process, "kafka", act, f"publish {len(records)}")

    def _beginnings(self, records: Sequence[Record]) -> list[Record]:
        """In each partition a part of the records from the first on, as a broken connection leaves it."""
        room: dict[tuple[str, int], int] = {}
        arriving: list[Record] = []
        for record in records:
            key = record.key or b""
            lane = (record.topic, partition_for(key, self._broker.partitions))
            left = room.setdefault(lane, self._network.rng.randrange(4))
            if left:
                arriving.append(record)
                room[lane] -= 1
        return arriving

    def _write(self, record: Record) -> None:
        self._broker.append(record)
        if self._network.trace.is_kept:
            headers = dict(record.headers)
            what = f"{headers.get('ce_id', b'?').decode()} {headers.get('ce_type', b'?').decode()}"
            self._network.trace.note(self._process.name, f"published {what}")
        if self._network.is_duplicated() and record.topic != topics.DEAD_LETTER:
            delay = self._network.rng.uniform(0.0, 5.0)
            self._network.later(delay, lambda: self._broker.append(record))


class CountingTelemetry:
    """`Telemetry` that counts."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def recorded(self, events: Sequence[RecordedEvent]) -> None:
        self.counted("events", len(events))

    def counted(self, what: str, amount: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + amount

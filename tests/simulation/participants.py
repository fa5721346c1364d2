"""Participants: the SDK's own runner on a faulty transport, with effects that the checks can count.

An effect is written in one step with its key's record, as a participant with a database does it. So a
process that dies before that has done nothing, and whoever forgets a record does it twice.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from conveyor import topics
from conveyor.errors import RetryableError, ServerUnavailableError, TerminalError
from conveyor.handlers import StepContext
from conveyor.keys import KeyRecord, KeyState
from conveyor.messages import Message, Record
from conveyor.participant import Participant
from conveyor.transport import Taken

from adapters.memory.broker import MemoryBroker
from adapters.memory.inbox import MemoryInbox
from application.ports import LaneState, Unavailable
from domain.position import TopicPartition
from tests.simulation.faults import MILLISECOND, Network, Process
from tests.simulation.faulty_ports import FaultyInbox, FaultyPublisher

T = TypeVar("T")

#: A hold of a process that was silent so long passes to the next who asks.
LEASE_SECONDS = 2.0


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that a participant really did."""

    key: str
    operation: str
    attempt: int


@dataclass(slots=True)
class _Hold:
    process: Process
    attempt: int


class KeyRecords:
    """The records of one participant, shared by its processes."""

    def __init__(self, effects: list[Effect]) -> None:
        self.records: dict[str, KeyRecord] = {}
        self.effects = effects
        self.holds: dict[str, _Hold] = {}

    def record(self, key: str) -> KeyRecord:
        return self.records.get(key, KeyRecord())


class FaultyKeyStore:
    """`KeyStore` of one process."""

    def __init__(self, shared: KeyRecords, process: Process, network: Network) -> None:
        self._shared = shared
        self._process = process
        self._network = network
        self._held: dict[str, _Hold] = {}
        #: What the handlers did and nobody sees yet, by key.
        self.staged: dict[str, Effect] = {}

    async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
        def look() -> Mapping[str, KeyRecord]:
            return {
                key: record
                for key, attempt in claims.items()
                if (record := self._open(key, attempt)) is not None
            }

        return await _answered(self._network.read(self._process, "keys", look))

    def _open(self, key: str, attempt: int) -> KeyRecord | None:
        holder = self._shared.holds.get(key)
        record = self._shared.record(key)
        if holder is not None and holder.process is not self._process:
            if not holder.process.is_silent_for(LEASE_SECONDS):
                return None
            record = replace(record, claimed=holder.attempt or record.claimed)
            self._shared.records[key] = record
        self._held[key] = self._shared.holds[key] = _Hold(self._process, attempt)
        self.staged.pop(key, None)
        return record

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        holds = {key: self._held.get(key) for key in records}

        def act(partly: bool) -> frozenset[str]:
            lost = {
                key
                for key, hold in holds.items()
                if hold is None or self._shared.holds.get(key) is not hold
            }
            for key, record in records.items():
                if key not in lost:
                    del self._shared.holds[key]
                    self._save(key, record)
            return frozenset(lost)

        return await _answered(self._network.write(self._process, "keys", act, "save keys"))

    def _save(self, key: str, record: KeyRecord) -> None:
        self._shared.records[key] = record
        effect = self.staged.pop(key, None)
        if effect is not None and record.state is KeyState.PERFORMED:
            self._shared.effects.append(effect)
            self._network.trace.note(self._process.name, f"DID {effect.operation} {key}")

    async def close(self) -> None:
        """Keys still held stay claimed."""


class FaultyTransport:
    """`Transport` of one process."""

    def __init__(self, broker: MemoryBroker, process: Process, network: Network) -> None:
        self._broker = broker
        self._process = process
        self._network = network
        self._publisher = FaultyPublisher(broker, process, network)
        self._inbox: FaultyInbox | None = None
        #: Lane -> offsets taken and not finished, in order, and the next one to take.
        self._unfinished: dict[TopicPartition, dict[int, None]] = {}
        self._next: dict[TopicPartition, int] = {}

    async def start(self, participant: str, services: Sequence[str]) -> None:
        inbox = MemoryInbox(
            self._broker,
            participant,
            member=self._process.name,
            topics=[topics.step_requests(service) for service in services],
        )
        self._inbox = FaultyInbox(inbox, self._process, self._network)
        await self._inbox.start(self)

    async def assigned(self, lanes: Sequence[LaneState]) -> Mapping[TopicPartition, int]:
        starts = {TopicPartition(lane.topic, lane.partition): lane.committed or 0 for lane in lanes}
        for place, offset in starts.items():
            self._unfinished[place] = {}
            self._next[place] = offset
        return starts

    async def revoked(self, partitions: Sequence[int]) -> None:
        await self.lost(partitions)

    async def lost(self, partitions: Sequence[int]) -> None:
        for place in [place for place in self._next if place.partition in partitions]:
            del self._unfinished[place], self._next[place]

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        if self._inbox is None or not limit:
            return []
        requests: list[Taken] = []
        for received in await _answered(self._inbox.take(limit, wait_seconds)):
            position = received.position
            place = TopicPartition(position.topic, position.partition)
            self._unfinished[place][position.offset] = None
            self._next[place] = position.offset + 1
            assert isinstance(received.message, Message)
            requests.append(Taken(received.message, position.partition, position.offset))
        return requests

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        await _answered(self._publisher.publish(replies))
        concerned: dict[TopicPartition, int] = {}
        for taken in done:
            place = TopicPartition(taken.message.topic, taken.partition)
            unfinished = self._unfinished.get(place)
            if unfinished is not None:
                unfinished.pop(taken.offset, None)
                concerned[place] = next(iter(unfinished), self._next[place])
        if concerned and self._inbox is not None:
            await _answered(self._inbox.commit(concerned))

    async def close(self) -> None:
        """What is not finished is delivered again."""


async def _answered(answer: Awaitable[T]) -> T:
    try:
        return await answer
    except Unavailable as error:
        raise ServerUnavailableError(error.component, error.detail) from error


# -- what they do --------------------------------------------------------------------------------


@dataclass(slots=True)
class Manners:
    """How well participants behave; probabilities per attempt."""

    slow: float
    retryable: float
    terminal: float

    def behave(self) -> None:
        self.slow = self.retryable = self.terminal = 0.0


#: service -> its operations; each is undone by `undo-<operation>` of the same service.
FLOOR = {"stock": ("reserve", "pick"), "robots": ("assign",)}
BANK = {"money": ("charge", "invoice"), "parcels": ("pack", "ship")}
#: Undone by another participant, which never saw the step: `undo-weigh` of robots.
ELSEWHERE = ("parcels", "weigh", "robots")


def participant(name: str, manners: Manners, keys: FaultyKeyStore, network: Network) -> Participant:
    """`floor` or `bank`, as one process runs it."""
    made = Participant(name)
    service, operation, undoer = ELSEWHERE
    for mine, operations in (FLOOR if name == "floor" else BANK).items():
        for each in operations:
            step = made.step(mine, each)(_handler(each, manners, keys, network))
            step.compensation(f"undo-{each}")(_handler(f"undo-{each}", manners, keys, network))
    if name == "floor":
        made.compensation(undoer, f"undo-{operation}")(
            _handler(f"undo-{operation}", manners, keys, network)
        )
    else:
        made.step(service, operation)(_handler(operation, manners, keys, network))
    return made


def _handler(
    operation: str, manners: Manners, keys: FaultyKeyStore, network: Network
) -> Callable[[dict[str, Any], StepContext], Awaitable[dict[str, Any]]]:
    async def perform(data: dict[str, Any], context: StepContext) -> dict[str, Any]:
        rng = network.rng
        is_slow = rng.random() < manners.slow
        await asyncio.sleep(rng.uniform(0.2, 4.0) if is_slow else rng.uniform(1, 30) * MILLISECOND)
        drawn = rng.random()
        if drawn < manners.terminal and (context.strategy is None or drawn < manners.terminal / 4):
            raise TerminalError("REFUSED", f"{operation} is not possible")
        if drawn > 1.0 - manners.retryable:
            raise RetryableError("BUSY", f"{operation} is not possible now")
        key = context.idempotency_key
        keys.staged[key] = Effect(key, operation, context.attempt)
        return {"did": operation}

    return perform

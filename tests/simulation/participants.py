"""Participants: the SDK's own runner on a faulty transport, with effects that the checks can count.

`floor` writes an effect together with its key's record, as a participant with a database does. If it dies before
that, nothing has happened. `bank` has its effects in another system, where they are idempotent by key. It may die
between the effect and the record, and the process that takes the claim over finds the effect done. In some runs `bank`
works over HTTP (`leased.py`).
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from conveyor import topics
from conveyor.errors import (
    RetryableError,
    ServerUnavailableError,
    TerminalError,
    UnknownOutcomeError,
)
from conveyor.handlers import StepContext
from conveyor.keys import UNDO_SUFFIX, VERIFY_SUFFIX, KeyRecord, KeyState, abandoned, performed
from conveyor.messages import Message, Record
from conveyor.participant import Participant
from conveyor.transport import Taken
from conveyor.values import replace

from adapters.memory.broker import MemoryBroker
from adapters.memory.inbox import MemoryInbox
from application.ports import Assigned, LaneState, Unavailable
from domain.aggregate.position import TopicPartition
from tests.simulation.chances import Kind
from tests.simulation.effects import Effect
from tests.simulation.faults import MILLISECOND, Network, Process
from tests.simulation.faulty_messaging import FaultyInbox, FaultyPublisher
from tests.simulation.trace import Trace
from tests.simulation.watch import Watch

T = TypeVar("T")

#: Without a renewal for so long, a hold passes to the next process that asks. It is renewed three times as often.
LEASE_SECONDS = 2.0


@dataclass(slots=True)
class _Hold:
    process: Process
    attempt: int
    #: When its lease runs out.
    until: float


class KeyRecords:
    """The records of one participant, shared by its processes."""

    def __init__(self, watch: Watch, trace: Trace) -> None:
        self._trace = trace
        self.records: dict[str, KeyRecord] = {}
        self.holds: dict[str, _Hold] = {}
        self.watch = watch
        #: Keys whose outcome people have looked up.
        self.cleared: set[str] = set()
        #: Keys of effects that stand somewhere else.
        self.elsewhere: set[str] = set()

    def record(self, key: str) -> KeyRecord:
        return self.records.get(key, KeyRecord())

    def is_held(self, holder: _Hold, process: Process) -> bool:
        """Somebody else has it, and its lease runs."""
        return holder.process is not process and holder.until > _now()

    def is_lost(self, key: str, hold: _Hold | None) -> bool:
        """Somebody else holds it by now."""
        return hold is None or self.holds.get(key) is not hold

    def happened(self, process: Process, effect: Effect) -> None:
        """This process did it."""
        self.watch.happened(effect)
        self._trace.note(process.name, f"DID {effect.operation} {effect.key}")

    def clear_up(self, on_offer: Collection[str]) -> None:
        """People look at what became of the attempts that nobody knows the outcome of, and note it.

        They have nothing to look up where the record says how the step ended. `on_offer`: keys that a worker may
        still be given.
        """
        for key, record in self.records.items():
            is_open = record.state in (KeyState.NONE, KeyState.FAILED)
            if record.claimed and is_open and key not in self.holds and key not in on_offer:
                done = key in self.elsewhere
                cleared = performed(record.claimed, b"{}") if done else replace(record, claimed=0)
                self.records[key] = cleared
                self.cleared.add(key)


def _now() -> float:
    return asyncio.get_running_loop().time()


class FaultyKeyStore:
    """`KeyStore` of one process, whose holds last as long as it renews them: as the one in Redis does it."""

    def __init__(
        self, shared: KeyRecords, process: Process, network: Network, cut_off: Callable[[], None]
    ) -> None:
        """`cut_off`: its group hears of it no more either."""
        self._shared = shared
        self._process = process
        self._network = network
        self._cut_off = cut_off
        self._held: dict[str, _Hold] = {}
        self._renewing: asyncio.Task[None] | None = None
        #: What the handlers did and nobody sees yet, by key.
        self.staged: dict[str, Effect] = {}

    async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
        if self._renewing is None:
            self._renewing = asyncio.ensure_future(self._keep_renewing())

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
        if holder is not None and self._shared.is_held(holder, self._process):
            return None
        if holder is not None and holder.process is not self._process:
            record = abandoned(record, holder.attempt)
            self._shared.records[key] = record
        hold = _Hold(self._process, attempt, until=_now() + LEASE_SECONDS)
        self._held[key] = self._shared.holds[key] = hold
        self.staged.pop(key, None)
        return record

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        holds = {key: self._held.get(key) for key in records}

        def act(partly: bool) -> frozenset[str]:
            lost = {key for key, hold in holds.items() if self._shared.is_lost(key, hold)}
            for key in sorted(lost):
                self._network.trace.note(self._process.name, f"holds {key} no more")
            for key, record in records.items():
                if key not in lost:
                    self._shared.holds.pop(key, None)
                    self._save(key, record)
            return frozenset(lost)

        return await _answered(self._network.write(self._process, "keys", act, "save keys"))

    def _save(self, key: str, record: KeyRecord) -> None:
        self._shared.records[key] = record
        effect = self.staged.pop(key, None)
        if effect is not None and record.state is KeyState.PERFORMED:
            self._shared.happened(self._process, effect)

    async def close(self) -> None:
        """Keys still held stay claimed."""
        if self._renewing is not None:
            self._renewing.cancel()

    # -- leases ----------------------------------------------------------------------------------

    async def _keep_renewing(self) -> None:
        """A single renewal that fails does no harm: two more follow before the lease runs out."""
        weather, chances = self._network.weather, self._network.chances
        while True:
            await asyncio.sleep(LEASE_SECONDS / 3)
            await self._process.checkpoint()
            held = [hold for key, hold in self._held.items() if self._is_mine(key, hold)]
            if held and chances.strikes(Kind.LEASE_RUNS_OUT, weather.cutting_off):
                await self._stay_away(len(held))
            elif not self._network.is_away("keys"):
                for hold in held:
                    hold.until = _now() + LEASE_SECONDS

    async def _stay_away(self, keys: int) -> None:
        """It works on, and nobody hears of it until its leases are over: not the store, not its group."""
        seconds = LEASE_SECONDS * self._network.chances.stream("leases").uniform(0.7, 1.5)
        self._network.trace.note(
            self._process.name, f"cannot renew {keys} keys for {seconds:.2f} s"
        )
        self._cut_off()
        await asyncio.sleep(seconds)

    def _is_mine(self, key: str, hold: _Hold) -> bool:
        return self._shared.holds.get(key) is hold


class FaultyTransport:
    """`Transport` of one process."""

    def __init__(
        self, broker: MemoryBroker, process: Process, network: Network, watch: Watch
    ) -> None:
        self._broker = broker
        self._process = process
        self._network = network
        self._watch = watch
        self._publisher = FaultyPublisher(broker, process, network, watch)
        self._inbox: FaultyInbox | None = None
        #: Lane -> offsets taken and not finished, in order, and the next one to take.
        self._unfinished: dict[TopicPartition, dict[int, None]] = {}
        self._next: dict[TopicPartition, int] = {}

    async def start(self, participant: str, services: Sequence[str]) -> None:
        await self._process.checkpoint()
        inbox = MemoryInbox(
            self._broker,
            participant,
            member=self._process.name,
            topics=[topics.step_requests(service) for service in services],
        )
        self._inbox = FaultyInbox(inbox, self._process, self._network, self._watch)
        await self._inbox.start(self)

    async def assigned(self, lanes: Sequence[LaneState]) -> Assigned:
        starts = {TopicPartition(lane.topic, lane.partition): lane.committed or 0 for lane in lanes}
        for place, offset in starts.items():
            self._unfinished[place] = {}
            self._next[place] = offset
        return Assigned(starts)

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
    unknown: float = 0.0
    dying: float = 0.0
    too_large: float = 0.0
    #: Of outputs that an undo repeats, that it could not be sent with them.
    undo_too_large: float = 0.4

    def behave(self) -> None:
        self.slow = self.retryable = self.terminal = 0.0
        self.unknown = self.dying = self.too_large = self.undo_too_large = 0.0


#: Its undo repeats its output.
HAUL = "haul"
#: service -> its operations; each is undone by `undo-<operation>` of the same service.
FLOOR = {"stock": ("reserve", "pick"), "robots": ("assign", HAUL)}
BANK = {"money": ("charge", "invoice"), "parcels": ("pack", "ship")}
#: Undone by another participant, which never saw the step: `undo-weigh` of robots.
ELSEWHERE = ("parcels", "weigh", "robots")
#: Says whether an undo held: `verify-reserve` of stock.
VERIFIED = ("stock", "reserve")

Handle = Callable[[dict[str, Any], StepContext], Awaitable[dict[str, Any]]]


def participant(name: str, make: Callable[[str], Handle]) -> Participant:
    """`floor` or `bank`; `make` gives an operation's handler."""
    made = Participant(name)
    service, operation, undoer = ELSEWHERE
    for mine, operations in (FLOOR if name == "floor" else BANK).items():
        for each in operations:
            step = made.step(mine, each)(make(each))
            step.compensation(f"undo-{each}")(make(f"undo-{each}"))
    if name == "floor":
        made.compensation(undoer, f"undo-{operation}")(make(f"undo-{operation}"))
        made.step(VERIFIED[0], f"verify-{VERIFIED[1]}")(make(f"verify-{VERIFIED[1]}"))
    else:
        made.step(service, operation)(make(operation))
    return made


@dataclass(slots=True)
class Performer:
    """What one process of a participant does with a request that it has to perform."""

    process: Process
    shared: KeyRecords
    manners: Manners
    network: Network
    now: Callable[[], datetime]
    die: Callable[[], None]
    #: The store that its effects are written to together with their keys' records; None: they are elsewhere.
    store: FaultyKeyStore | None = None
    large: str = field(default="x" * 6500, repr=False)

    def handler(self, operation: str) -> Handle:
        async def perform(data: dict[str, Any], context: StepContext) -> dict[str, Any]:
            began = self.now()
            await self._work()
            await self.process.checkpoint()
            if self.store is None:
                await self._do_elsewhere(operation, context)
            else:
                self._refuse(operation, context)
                _stage(self.store, operation, context)
            deadline = context.deadline
            if deadline is not None and deadline < began and not context.recovered:
                self.shared.watch.wrong(f"{context.idempotency_key} was begun past its deadline")
            if operation == HAUL:
                return {"did": operation, "note": self._note()}
            is_large = self.network.chances.strikes(Kind.STEP_TOO_LARGE, self.manners.too_large)
            return {"did": operation, "note": self.large} if is_large else {"did": operation}

        return perform

    def _note(self) -> str:
        """Its undo, which repeats it twice, could not be sent; or just so."""
        chances = self.network.chances
        if chances.is_over:
            return ""
        is_large = chances.strikes(Kind.UNDO_TOO_LARGE, self.manners.undo_too_large)
        return "x" * (2_600 if is_large else chances.stream("notes").choice((10, 1_900)))

    async def _work(self) -> None:
        dice = self.network.dice
        is_slow = self.network.chances.strikes(Kind.STEP_SLOW, self.manners.slow)
        await asyncio.sleep(
            dice.uniform(0.2, 4.0) if is_slow else dice.uniform(1, 30) * MILLISECOND
        )

    def _refuse(self, operation: str, context: StepContext) -> None:
        chances, manners = self.network.chances, self.manners
        terminal = manners.terminal if context.strategy is None else manners.terminal / 4
        if chances.strikes(Kind.STEP_REFUSED, terminal):
            raise TerminalError("REFUSED", f"{operation} is not possible")
        if chances.strikes(Kind.STEP_BUSY, manners.retryable):
            raise RetryableError("BUSY", f"{operation} is not possible now")

    async def _do_elsewhere(self, operation: str, context: StepContext) -> None:
        """Do it unless it is done, as something does that is idempotent by key.

        Who finds that the attempt was begun before cannot promise any more that nothing was done.
        """
        key, chances = context.idempotency_key, self.network.chances
        is_done = key in self.shared.elsewhere
        if not is_done and not context.recovered:
            self._refuse(operation, context)
        is_unknown = chances.strikes(Kind.OUTCOME_UNKNOWN, self.manners.unknown)
        undoes = key.removesuffix(UNDO_SUFFIX)
        has_to_be = undoes == key or undoes in self.shared.elsewhere
        if not is_done and has_to_be and not (is_unknown and self.network.dice.random() < 0.5):
            self.shared.elsewhere.add(key)
            self.shared.happened(self.process, Effect(key, operation, context.attempt))
            if chances.strikes(Kind.DIES_AFTER_EFFECT, self.manners.dying):
                self.die()
                await self.process.checkpoint()
        if is_unknown:
            raise UnknownOutcomeError("CONNECTION_LOST", f"nobody knows about {operation}")


def _stage(store: FaultyKeyStore, operation: str, context: StepContext) -> None:
    """It will have happened when its key's record is written."""
    key = context.idempotency_key
    if VERIFY_SUFFIX not in key:
        store.staged[key] = Effect(key, operation, context.attempt)

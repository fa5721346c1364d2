"""The ports to the broker, and what an engine counts: memory adapters behind the network of one process."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from conveyor import topics
from conveyor.cloudevents import encode
from conveyor.messages import Message, Record

from adapters.memory.broker import MemoryBroker
from adapters.memory.inbox import MemoryInbox
from adapters.memory.virtual_time import drive
from adapters.partitioner import partition_for
from application.ports import (
    Assigned,
    InboxListener,
    LaneState,
    Received,
    RecordedEvent,
    Refused,
    Unavailable,
)
from domain.aggregate.kind import State
from domain.aggregate.position import TopicPartition
from tests.simulation.chances import Kind
from tests.simulation.faults import Network, Process
from tests.simulation.watch import Watch
from tests.simulation.workload import RAISES


class FaultyInbox:
    """`Inbox` of one engine or, on request topics, of one participant's process."""

    def __init__(
        self, inbox: MemoryInbox, process: Process, network: Network, watch: Watch
    ) -> None:
        self.inner = inbox
        self._process = process
        self._network = network
        self._watch = watch
        self._sent = self._landed = 0

    @property
    def problem(self) -> str | None:
        return self.inner.problem

    @property
    def stopped(self) -> Mapping[int, str]:
        return self.inner.stopped

    async def start(self, listener: InboxListener) -> None:
        await self.inner.start(_Told(listener, self._watch, self._process.name))

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Received]:
        await self._network.reach(self._process, "kafka")
        await self._lose_one()
        limit = min(limit, self._network.dice.choice((1, 3, 10, 1000)))
        taken = [_as_read(each) for each in await self.inner.take(limit, wait_seconds)]
        await self._process.checkpoint()
        if taken and self._network.trace.is_kept:
            told = " ".join(_told(received) for received in taken)
            self._network.trace.note(self._process.name, f"took {told}")
        return taken

    def handed_out(self, lane: TopicPartition) -> int:
        return self.inner.handed_out(lane)

    @property
    def lag(self) -> int:
        return self.inner.lag

    async def _lose_one(self) -> None:
        """A partition is lost alone: what concerns the others must not go with it.

        Rather when something was not sent: a broker that comes back with less fails producers and consumers alike.
        """
        chances, losing = self._network.chances, self._network.weather.losing
        if losing and self._process.has_unsent:
            losing = 0.5
        self._process.has_unsent = False
        partitions = sorted(self.inner._open())
        if partitions and chances.strikes(Kind.PARTITION_LOST, losing):
            lost = chances.stream("losing").choice(partitions)
            self._network.trace.note(self._process.name, f"loses partition {lost}")
            await self.inner._lose({lost})

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
        await self._network.reach(self._process, "kafka")
        self._network.trace.note(self._process.name, f"restarts {list(partitions)}")
        await self.inner.restart(partitions)

    async def close(self) -> None:
        await self._process.checkpoint()
        await self.inner.close()


class _Told:
    """A listener, and beside it who notes where the replies and the log ended when a partition was assigned."""

    def __init__(self, listener: InboxListener, watch: Watch, process: str) -> None:
        self._listener = listener
        self._watch = watch
        self._process = process

    async def assigned(self, lanes: Sequence[LaneState]) -> Assigned:
        for lane in lanes:
            if lane.topic == topics.REPLIES:
                self._watch.replies_end[self._process][lane.partition] = lane.end
        versions = dict(self._watch.versions)
        assigned = await self._listener.assigned(lanes)
        self._watch.took_over(self._process, {lane.partition for lane in lanes}, versions)
        return assigned

    async def revoked(self, partitions: Sequence[int]) -> None:
        await self._listener.revoked(partitions)

    async def lost(self, partitions: Sequence[int]) -> None:
        await self._listener.lost(partitions)


class Unreadable:
    """A message of which every use raises, and not as readers expect it."""

    def __getattr__(self, name: str) -> Any:
        raise SystemError(f"a bug of the client: {name}")


def _as_read(received: Received) -> Received:
    if received.record.value != RAISES:
        return received
    unreadable: Any = Unreadable()
    return Received(received.position, received.record, received.timestamp, unreadable)


def _told(received: Received) -> str:
    message = received.message
    name = message.id if isinstance(message, Message) else "malformed"
    position = received.position
    return f"{position.topic.rpartition('.')[2]}-{position.partition}@{position.offset}:{name}"


#: Bytes of data that the broker takes in one record; engines are told to stay below.
RECORD_BYTES_MAX = 7_000
_REQUESTS = topics.step_requests("")


class FaultyPublisher:
    """`PublishEventPort` of one process: a call that fails has written some of its partitions' beginnings."""

    def __init__(
        self, broker: MemoryBroker, process: Process, network: Network, watch: Watch
    ) -> None:
        self._broker = broker
        self._process = process
        self._network = network
        self._watch = watch

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        if not messages:
            return
        records = self.encoded(messages)
        for record in records:
            self._watch.sends(self._process.name, record)
            if record.value is not None and len(record.value) > RECORD_BYTES_MAX:
                raise RuntimeError(f"the broker refuses {len(record.value)} bytes for good")

        def act(partly: bool) -> str | None:
            for record in self._beginnings(records) if partly else records:
                if record.topic in self._network.weather.refusing:
                    # What lies behind it is dropped, as the client does it.
                    return record.topic
                self.write(record)
            return None

        try:
            refused = await self._network.write(
                self._process, "kafka", act, f"publish {len(records)}"
            )
            if refused is not None:
                raise Refused("kafka", refused, "no permission")
        except Unavailable:
            self._process.has_unsent = True
            raise

    @staticmethod
    def encoded(messages: Sequence[Message | Record]) -> list[Record]:
        return [encode(m) if isinstance(m, Message) else m for m in messages]

    def _beginnings(self, records: Sequence[Record]) -> list[Record]:
        """In each partition a part of the records from the first on, as a broken connection leaves it."""
        room: dict[tuple[str, int], int] = {}
        arriving: list[Record] = []
        for record in records:
            key = record.key or b""
            lane = (record.topic, partition_for(key, self._broker.partitions))
            left = room.setdefault(lane, self._network.dice.randrange(4))
            if left:
                arriving.append(record)
                room[lane] -= 1
        return arriving

    def write(self, record: Record) -> None:
        """It stands on its topic; now and then it will stand there twice."""
        chances, weather, dice = self._network.chances, self._network.weather, self._network.dice
        if record.topic.startswith(_REQUESTS) and chances.strikes(
            Kind.REQUEST_LATE, weather.holding_up
        ):
            self._network.later(dice.uniform(0.1, 5.0), lambda: self._broker.append(record))
        else:
            self._broker.append(record)
        self._watch.published(record)
        if self._network.trace.is_kept:
            headers = dict(record.headers)
            what = f"{headers.get('ce_id', b'?').decode()} {headers.get('ce_type', b'?').decode()}"
            self._network.trace.note(self._process.name, f"published {what}")
        if record.topic != topics.DEAD_LETTER and chances.strikes(
            Kind.RECORD_TWICE, weather.duplicates
        ):
            self._network.later(dice.uniform(0.0, 5.0), lambda: self._broker.append(record))


class FaultyRepair:
    """`TopicRepair` of one engine, which mends nothing: people do."""

    def __init__(self, publisher: FaultyPublisher) -> None:
        self._publisher = publisher

    async def try_again(self, topic: str, sample: Message | Record) -> None:
        """As the port says."""
        await self._publisher.publish([sample])


class CountingTelemetry:
    """`Telemetry` that counts."""

    def __init__(self) -> None:
        self.counts: dict[str, int] = {}

    def recorded(self, events: Sequence[RecordedEvent], state: State) -> None:
        self.counted("events", len(events))

    def counted(self, what: str, amount: int = 1) -> None:
        self.counts[what] = self.counts.get(what, 0) + amount

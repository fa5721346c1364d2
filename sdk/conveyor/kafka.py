"""Requests and replies over Kafka: one consumer group per participant."""

from __future__ import annotations

import asyncio
import logging
import threading
from collections.abc import Callable, Iterable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import NamedTuple, TypeVar, TypeVarTuple

try:
    from confluent_kafka import Consumer, KafkaException, TopicPartition
    from confluent_kafka import Message as Received
except ModuleNotFoundError as absent:
    raise ModuleNotFoundError(
        "Kafka needs confluent-kafka: pip install 'conveyor-sdk[kafka]'", name="confluent_kafka"
    ) from absent

from conveyor import topics
from conveyor.cloudevents import encode
from conveyor.dead_letters import dead_letter, shortened
from conveyor.errors import ServerUnavailableError
from conveyor.kafka_errors import Verdict
from conveyor.kafka_records import read
from conveyor.kafka_writer import CLIENT_LOG, KafkaWriter
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.replies import without_output
from conveyor.times import rfc3339
from conveyor.transport import Taken

log = logging.getLogger(__name__)

T = TypeVar("T")
Arguments = TypeVarTuple("Arguments")

GROUP_PREFIX = "conveyor-participant-"
#: Of the groups in which the service reads for workers.
WORKERS_GROUP_PREFIX = "conveyor-workers-"


class _Place(NamedTuple):
    topic: str
    partition: int
    offset: int


class _Refused(NamedTuple):
    place: _Place
    letter: Record


@dataclass(slots=True)
class _Lane:
    """An assigned partition: what was taken and is not finished, in order of offsets."""

    #: After the last message taken; None before the first.
    next_offset: int | None = None
    unfinished: dict[int, None] = field(default_factory=dict[int, None])

    @property
    def committable(self) -> int | None:
        return next(iter(self.unfinished), self.next_offset)


class _Delivery(NamedTuple):
    """A message with the assignment that it came under."""

    received: Received
    #: None: the partition was not assigned, or the message is an error.
    lane: _Lane | None


class KafkaTransport:
    """The `Transport` over Kafka.

    About every second, and whenever partitions move, it commits the offset of the lowest unfinished
    request. After a crash Kafka delivers the later requests again; they get their recorded replies.
    `topic_prefix` stands before every topic name. `properties` are librdkafka's (`security.protocol`, ...).
    `on_joined` is called once, in the consumer's thread, when the group has given this process its partitions.
    """

    def __init__(
        self,
        bootstrap_servers: str,
        *,
        topic_prefix: str = "",
        session_timeout_ms: int = 10_000,
        properties: Mapping[str, str] | None = None,
        group_prefix: str = GROUP_PREFIX,
        on_joined: Callable[[], None] | None = None,
    ) -> None:
        self._on_joined = on_joined
        self._group_prefix = group_prefix
        self._bootstrap_servers = bootstrap_servers
        self._prefix = topic_prefix
        self._session_timeout_ms = session_timeout_ms
        self._properties = dict(properties or {})
        self._writer = KafkaWriter(bootstrap_servers, self._properties, topic_prefix)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conveyor-consumer")
        self._consumer: Consumer | None = None
        #: (topic, partition) -> lane; changed in the consumer's thread and on the event loop.
        self._lanes: dict[tuple[str, int], _Lane] = {}
        self._lanes_lock = threading.Lock()
        #: Lanes with something finished since their offset was stored.
        self._finished: set[tuple[str, int]] = set()
        #: Set aside by the next `take`.
        self._refused: list[_Refused] = []
        #: Read while the partitions were being paused.
        self._kept: list[_Delivery] = []

    async def start(self, participant: str, services: Sequence[str]) -> None:
        await self._in_thread(self._subscribe, participant, services)

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        if limit == 0:
            await self._in_thread(self._keep_membership)
            return ()
        if self._refused:
            await self._write([each.letter for each in self._refused])
            self._advance([each.place for each in self._refused])
            self._refused.clear()
        taken, refused = await self._in_thread(self._take, limit, wait_seconds)
        self._refused += refused
        return taken

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        if replies:
            await self._write(replies)
        self._advance([_Place(each.message.topic, each.partition, each.offset) for each in done])

    async def close(self) -> None:
        try:
            await self._in_thread(self._leave)
        finally:
            self._thread.shutdown(wait=False)
            await self._writer.close()

    async def _write(self, messages: Sequence[Message | Record]) -> None:
        """Write them, in a smaller form where Kafka does not take them whole.

        A message that Kafka never takes is logged and given up; the engine asks again for a missing
        reply. Without the topic of the replies nothing can go out, so this waits for that topic.
        """
        smaller: list[Message | Record] = []
        for message, why, detail in await self._writer.write(messages):
            if why is Verdict.RECORD:
                smaller.append(_smaller(message))
            elif message.topic == topics.DEAD_LETTER:
                _give_up(message, detail)
            else:
                raise ServerUnavailableError("kafka", f"{message.topic}: {detail}")
        if smaller:
            for message, _, detail in await self._writer.write(smaller):
                _give_up(message, detail)

    async def _in_thread(self, call: Callable[[*Arguments], T], *args: *Arguments) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call, *args)

    # -- in the consumer's thread ----------------------------------------------------------------

    def _subscribe(self, participant: str, services: Sequence[str]) -> None:
        if self._consumer is not None:
            return
        self._consumer = Consumer(
            {
                "group.id": self._prefix + self._group_prefix + participant,
                "auto.offset.reset": "earliest",
                "enable.auto.offset.store": False,
                "enable.auto.commit": True,
                "auto.commit.interval.ms": 1_000,
                "partition.assignment.strategy": "cooperative-sticky",
                "session.timeout.ms": self._session_timeout_ms,
                "topic.metadata.refresh.interval.ms": 10_000,
                **self._properties,
                "bootstrap.servers": self._bootstrap_servers,
            },
            logger=CLIENT_LOG,
        )
        self._consumer.subscribe(
            [self._prefix + topics.step_requests(service) for service in services],
            on_assign=self._on_assign,
            on_revoke=self._on_gone,
            on_lost=self._on_gone,
        )

    def _on_assign(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lanes_lock:
            for each in partitions:
                self._lanes[self._name(each.topic), each.partition] = _Lane()
        on_joined, self._on_joined = self._on_joined, None
        if on_joined is not None:
            on_joined()

    def _on_gone(self, _: Consumer, partitions: list[TopicPartition]) -> None:
        with self._lanes_lock:
            for each in partitions:
                self._lanes.pop((self._name(each.topic), each.partition), None)

    def _name(self, topic: str) -> str:
        return topic[len(self._prefix) :]

    def _keep_membership(self) -> None:
        """Poll, as the group protocol demands, without taking anything new."""
        consumer = self._connected()
        self._store_offsets()
        assigned = consumer.assignment()
        consumer.pause(assigned)
        if (received := consumer.poll(0)) is not None:
            self._kept += self._delivered([received])
        consumer.resume(assigned)

    def _take(self, limit: int, wait_seconds: float) -> tuple[list[Taken], list[_Refused]]:
        consumer = self._connected()
        self._store_offsets()
        deliveries, self._kept = self._kept, []
        try:
            # `consume` waits for all that it is asked for, so the first one is polled for alone.
            if not deliveries and (first := consumer.poll(wait_seconds)) is not None:
                deliveries += self._delivered([first])
            if 0 < len(deliveries) < limit:
                deliveries += self._delivered(consumer.consume(limit - len(deliveries), 0))
        except KafkaException as error:
            self._kept = deliveries
            raise ServerUnavailableError("kafka", str(error)) from error
        with self._lanes_lock:
            return self._read(deliveries)

    def _delivered(self, messages: Sequence[Received]) -> list[_Delivery]:
        """The next call of the client library may take partitions away and bring them back."""
        with self._lanes_lock:
            return [
                _Delivery(
                    each, self._lanes.get((self._name(each.topic() or ""), each.partition() or 0))
                )
                for each in messages
            ]

    def _read(self, deliveries: Sequence[_Delivery]) -> tuple[list[Taken], list[_Refused]]:
        taken: list[Taken] = []
        refused: list[_Refused] = []
        for received, lane in deliveries:
            if (error := received.error()) is not None:
                log.error(
                    "ALARM: Kafka cannot deliver partition %s of %s at offset %s: %s",
                    *(received.partition(), received.topic(), received.offset(), error.str()),
                )
                continue
            place = _Place(
                self._name(received.topic() or ""),
                received.partition() or 0,
                received.offset() or 0,
            )
            # Of an assignment that has ended: it is delivered again, after what comes before it.
            if lane is None or self._lanes.get((place.topic, place.partition)) is not lane:
                continue
            lane.unfinished[place.offset] = None
            lane.next_offset = place.offset + 1
            record, message = read(received, place.topic)
            if isinstance(message, MalformedEvent):
                refused.append(_Refused(place, _dead_letter(record, place, message)))
            else:
                taken.append(Taken(message, place.partition, place.offset))
        return taken, refused

    def _connected(self) -> Consumer:
        if self._consumer is None:
            raise RuntimeError("start() comes first")
        return self._consumer

    def _store_offsets(self) -> None:
        """Let the next commit cover what is finished; nothing for partitions that moved away.

        Here, because the client library lets no other thread in while it waits in `poll`.
        """
        with self._lanes_lock:
            finished, self._finished = self._finished, set()
            offsets = [
                TopicPartition(self._prefix + topic, partition, committable)
                for topic, partition in finished
                if (lane := self._lanes.get((topic, partition))) is not None
                and (committable := lane.committable) is not None
            ]
        if not offsets:
            return
        try:
            self._connected().store_offsets(offsets=offsets)
        except KafkaException as error:
            log.debug("A partition moved away before its offset was stored: %s", error)

    def _leave(self) -> None:
        if self._consumer is not None:
            self._store_offsets()
            self._consumer.close()

    # -- on the event loop -----------------------------------------------------------------------

    def _advance(self, places: Iterable[_Place]) -> None:
        with self._lanes_lock:
            for topic, partition, offset in places:
                lane = self._lanes.get((topic, partition))
                if lane is not None:
                    lane.unfinished.pop(offset, None)
                    self._finished.add((topic, partition))


def _smaller(message: Message | Record) -> Message | Record:
    return without_output(message) if isinstance(message, Message) else shortened(message)


def _give_up(message: Message | Record, detail: str) -> None:
    record = encode(message) if isinstance(message, Message) else message
    place = {name: value for name, value in record.headers if name.startswith(("dlq-", "ce_id"))}
    log.error("Kafka refuses a message to %s: %s. It is lost: %s", message.topic, detail, place)


def _dead_letter(record: Record, place: _Place, malformed: MalformedEvent) -> Record:
    log.warning("Refused a message: %s (%s)", malformed.detail, malformed.code)
    return dead_letter(
        record,
        reason=malformed.code,
        detail=malformed.detail,
        partition=place.partition,
        offset=place.offset,
        time=rfc3339(datetime.now(UTC)),
    )

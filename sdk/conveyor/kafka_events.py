"""Reading `orchestration.workflow.events`: what happens from now on, and what happened to one workflow before."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import AbstractContextManager, contextmanager
from typing import TypeAlias

try:
    from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
    from confluent_kafka import Message as Received
except ModuleNotFoundError as absent:
    raise ModuleNotFoundError(
        "Kafka needs confluent-kafka: pip install 'conveyor-sdk[kafka]'", name="confluent_kafka"
    ) from absent

from conveyor import topics
from conveyor.errors import ServerUnavailableError
from conveyor.kafka_records import read
from conveyor.kafka_writer import CLIENT_LOG
from conveyor.messages import MalformedEvent, Message

_Listeners: TypeAlias = dict[str, list[asyncio.Queue[Message]]]

log = logging.getLogger(__name__)

_START_SECONDS = 10.0
_RETRY_SECONDS = 0.1
_POLL_SECONDS = 0.25
_BATCH = 1_000


def new_consumer(
    bootstrap_servers: str, properties: Mapping[str, str], **settings: str | bool
) -> Consumer:
    """A consumer that commits nothing, unless its settings say otherwise."""
    return Consumer(
        {
            # Nothing is ever committed under this name; the client library asks for one.
            "group.id": "conveyor-client",
            "enable.auto.commit": False,
            "auto.offset.reset": "earliest",
            **properties,
            **settings,
            "bootstrap.servers": bootstrap_servers,
        },
        logger=CLIENT_LOG,
    )


def partitions_of(consumer: Consumer, topic: str) -> Sequence[int]:
    """Raises KafkaException."""
    found = consumer.list_topics(topic, timeout=_START_SECONDS).topics[topic]
    if found.error is not None:
        raise KafkaException(found.error)
    return sorted(found.partitions)


def event_in(received: Received) -> Message | None:
    """None, with a line in the log, for what cannot be read."""
    _, event = read(received, topics.EVENTS)
    if isinstance(event, MalformedEvent):
        log.warning("An event cannot be read: %s", event)
        return None
    return event


@contextmanager
def _listening(listeners: _Listeners, key: str) -> Generator[asyncio.Queue[Message]]:
    queue: asyncio.Queue[Message] = asyncio.Queue()
    queues = listeners.setdefault(key, [])
    queues.append(queue)
    try:
        yield queue
    finally:
        queues.remove(queue)
        if not queues:
            del listeners[key]


class KafkaEvents:
    """A consumer without a group on all partitions, from their ends at `start`."""

    def __init__(
        self, bootstrap_servers: str, properties: Mapping[str, str], topic_prefix: str
    ) -> None:
        self._topic = topic_prefix + topics.EVENTS
        self._consumer = new_consumer(bootstrap_servers, properties)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conveyor-events")
        #: By the id of the command that caused an event, and by the id of its workflow.
        self._causes: _Listeners = {}
        self._workflows: _Listeners = {}
        self._watching: asyncio.Task[None] | None = None

    async def start(self) -> None:
        """Raises `ServerUnavailableError`; commands sent after it returns are not missed."""
        loop = asyncio.get_running_loop()
        deadline = loop.time() + _START_SECONDS
        while True:
            try:
                await loop.run_in_executor(self._thread, self._assign)
                break
            except KafkaException as error:
                # A topic just created or a broker just elected answers after a moment.
                if loop.time() > deadline:
                    raise ServerUnavailableError("kafka", str(error)) from error
                await asyncio.sleep(_RETRY_SECONDS)
        self._watching = asyncio.create_task(self._watch(loop))

    def caused_by(self, command_id: str) -> AbstractContextManager[asyncio.Queue[Message]]:
        """The events that the command causes from now on."""
        return _listening(self._causes, command_id)

    def following(self, workflow_id: str) -> AbstractContextManager[asyncio.Queue[Message]]:
        """The events of the workflow from now on."""
        return _listening(self._workflows, workflow_id)

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await asyncio.get_running_loop().run_in_executor(self._thread, self._consumer.close)
        self._thread.shutdown(wait=False)

    def _assign(self) -> None:
        places: list[TopicPartition] = []
        for partition in partitions_of(self._consumer, self._topic):
            place = TopicPartition(self._topic, partition)
            _, end = self._consumer.get_watermark_offsets(place, timeout=_START_SECONDS)
            places.append(TopicPartition(self._topic, partition, end))
        self._consumer.assign(places)

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            for event in await loop.run_in_executor(self._thread, self._poll):
                cause = event.extensions.get("causationid", "")
                for queue in self._causes.get(cause, ()):
                    queue.put_nowait(event)
                for queue in self._workflows.get(event.key or "", ()):
                    queue.put_nowait(event)

    def _poll(self) -> Sequence[Message]:
        """The next events that somebody waits for."""
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return ()
        found: list[Message] = []
        for received in [first, *self._consumer.consume(_BATCH, 0)]:
            if received.error() is not None:
                continue
            event = event_in(received)
            if event is None:
                continue
            is_caused = event.extensions.get("causationid") in self._causes
            if is_caused or event.key in self._workflows:
                found.append(event)
        return found


class PastEvents:
    """The topic's past, read again for one workflow at a time."""

    def __init__(
        self, bootstrap_servers: str, properties: Mapping[str, str], topic_prefix: str
    ) -> None:
        self._topic = topic_prefix + topics.EVENTS
        self._bootstrap_servers = bootstrap_servers
        self._properties = properties
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conveyor-past")
        #: Made when it is needed first.
        self._consumer: Consumer | None = None
        self._closing = False

    async def of(self, workflow_id: str, since_ms: int) -> Sequence[Message]:
        """The events that the topic has had since then (Unix time in ms), each workflow's in order.

        Raises `ServerUnavailableError`.
        """
        loop = asyncio.get_running_loop()
        try:
            return await loop.run_in_executor(self._thread, self._read, workflow_id, since_ms)
        except KafkaException as error:
            raise ServerUnavailableError("kafka", str(error)) from error

    async def close(self) -> None:
        self._closing = True
        if self._consumer is not None:
            await asyncio.get_running_loop().run_in_executor(self._thread, self._consumer.close)
        self._thread.shutdown(wait=False)

    def _read(self, workflow_id: str, since_ms: int) -> Sequence[Message]:
        if self._consumer is None:
            self._consumer = new_consumer(
                self._bootstrap_servers, self._properties, **{"enable.partition.eof": True}
            )
        consumer = self._consumer
        numbers = partitions_of(consumer, self._topic)
        times = [TopicPartition(self._topic, number, since_ms) for number in numbers]
        places = consumer.offsets_for_times(times, timeout=_START_SECONDS)
        ends: dict[int, int] = {}
        for place in places:
            _, end = consumer.get_watermark_offsets(place, timeout=_START_SECONDS)
            if 0 <= place.offset < end:
                ends[place.partition] = end
        consumer.assign([place for place in places if place.partition in ends])
        try:
            return self._read_to(ends, workflow_id.encode())
        finally:
            consumer.unassign()

    def _read_to(self, ends: dict[int, int], key: bytes) -> Sequence[Message]:
        assert self._consumer is not None
        found: list[Message] = []
        while ends and not self._closing:
            for received in self._consumer.consume(_BATCH, _POLL_SECONDS):
                partition, error = received.partition(), received.error()
                if error is not None:
                    if error.code() == KafkaError._PARTITION_EOF:  # noqa: SLF001 - the client's name
                        ends.pop(partition or 0, None)
                    elif not error.retriable():
                        raise KafkaException(error)
                    continue
                if received.key() == key and (event := event_in(received)) is not None:
                    found.append(event)
                if (received.offset() or 0) + 1 >= ends.get(partition or 0, 0):
                    ends.pop(partition or 0, None)
        return found

"""Watching `orchestration.workflow.events` for the events that a command caused."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager

from confluent_kafka import Consumer, KafkaException, TopicPartition

from conveyor import topics
from conveyor.errors import ServerUnavailableError
from conveyor.kafka_records import read
from conveyor.kafka_writer import CLIENT_LOG
from conveyor.messages import MalformedEvent, Message

log = logging.getLogger(__name__)

_START_SECONDS = 10.0
_RETRY_SECONDS = 0.1
_POLL_SECONDS = 0.25
_BATCH = 1_000


class KafkaEvents:
    """A consumer without a group on all partitions, from their ends at `start`."""

    def __init__(
        self, bootstrap_servers: str, properties: Mapping[str, str], topic_prefix: str
    ) -> None:
        self._topic = topic_prefix + topics.EVENTS
        self._consumer = Consumer(
            {
                # Nothing is ever committed under this name; the client library asks for one.
                "group.id": "conveyor-client",
                "enable.auto.commit": False,
                "auto.offset.reset": "earliest",
                **properties,
                "bootstrap.servers": bootstrap_servers,
            },
            logger=CLIENT_LOG,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conveyor-events")
        self._waiting: dict[str, asyncio.Future[Sequence[Message]]] = {}
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

    @contextmanager
    def caused_by(
        self, command_id: str
    ) -> Generator[asyncio.Future[Sequence[Message]], None, None]:
        """The first events that the command causes from now on, as far as they arrive together."""
        future = asyncio.get_running_loop().create_future()
        self._waiting[command_id] = future
        try:
            yield future
        finally:
            self._waiting.pop(command_id, None)

    async def close(self) -> None:
        if self._watching is not None:
            self._watching.cancel()
            await asyncio.wait({self._watching})
        await asyncio.get_running_loop().run_in_executor(self._thread, self._consumer.close)
        self._thread.shutdown(wait=False)

    def _assign(self) -> None:
        topic = self._consumer.list_topics(self._topic, timeout=_START_SECONDS).topics[self._topic]
        if topic.error is not None:
            raise KafkaException(topic.error)
        places: list[TopicPartition] = []
        for partition in topic.partitions:
            place = TopicPartition(self._topic, partition)
            _, end = self._consumer.get_watermark_offsets(place, timeout=_START_SECONDS)
            places.append(TopicPartition(self._topic, partition, end))
        self._consumer.assign(places)

    async def _watch(self, loop: asyncio.AbstractEventLoop) -> None:
        while True:
            for command_id, events in (
                await loop.run_in_executor(self._thread, self._poll)
            ).items():
                future = self._waiting.get(command_id)
                if future is not None and not future.done():
                    future.set_result(events)

    def _poll(self) -> Mapping[str, Sequence[Message]]:
        first = self._consumer.poll(_POLL_SECONDS)
        if first is None:
            return {}
        caused: dict[str, list[Message]] = {}
        for received in [first, *self._consumer.consume(_BATCH, 0)]:
            if received.error() is not None:
                continue
            _, event = read(received, topics.EVENTS)
            if isinstance(event, MalformedEvent):
                log.warning("An event cannot be read: %s", event)
                continue
            command_id = event.extensions.get("causationid")
            if command_id in self._waiting:
                caused.setdefault(command_id, []).append(event)
        return caused

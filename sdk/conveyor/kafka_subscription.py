"""All events of all workflows, for a group of consumers or from a position on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import TypeVar

import orjson
from confluent_kafka import Consumer, KafkaError, KafkaException, TopicPartition
from confluent_kafka import Message as Received

from conveyor import topics
from conveyor.connection import BEGINNING
from conveyor.errors import PositionLostError, ServerUnavailableError
from conveyor.kafka_events import event_in, new_consumer, partitions_of
from conveyor.messages import Message
from conveyor.resources import Event
from conveyor.times import parse_rfc3339

T = TypeVar("T")

_POLL_SECONDS = 0.25
_BATCH = 500


async def subscription(
    bootstrap_servers: str,
    properties: Mapping[str, str],
    topic_prefix: str,
    *,
    group: str | None,
    after: str,
) -> AsyncGenerator[Event, None]:
    """See `AsyncClient.subscribe`. Raises PositionLostError, ServerUnavailableError."""
    topic = topic_prefix + topics.EVENTS
    settings: dict[str, str | bool] = {"auto.offset.reset": "error"}
    if group is not None:
        settings = {
            "group.id": group,
            "enable.auto.commit": True,
            "enable.auto.offset.store": False,
        }
    with ThreadPoolExecutor(1, thread_name_prefix="conveyor-subscription") as thread:

        async def in_thread(call: Callable[[], T]) -> T:
            try:
                return await asyncio.get_running_loop().run_in_executor(thread, call)
            except KafkaException as error:
                raise ServerUnavailableError("kafka", str(error)) from error

        consumer = new_consumer(bootstrap_servers, properties, **settings)
        try:
            if group is not None:
                await in_thread(partial(consumer.subscribe, [topic]))
                position = None
            else:
                position = _Position(after)
                await in_thread(partial(_assign, consumer, topic, position))
            while True:
                for received in await in_thread(partial(_consume, consumer)):
                    event = event_in(received)
                    if position is not None:
                        position.pass_by(received)
                    if event is not None:
                        yield _event(event, None if position is None else str(position))
                    if group is not None:
                        await in_thread(partial(_store, consumer, received))
        finally:
            await in_thread(consumer.close)


class _Position:
    """The next offset of each partition; as text `0:17,1:4`."""

    def __init__(self, text: str) -> None:
        """Raises ValueError."""
        self.offsets: dict[int, int] = {}
        if text == BEGINNING:
            return
        for each in text.split(","):
            partition, colon, offset = each.partition(":")
            if not (colon and partition.isdecimal() and offset.isdecimal()):
                raise ValueError(f"after {text[:60]!r} is not the position of an event")
            self.offsets[int(partition)] = int(offset)

    def pass_by(self, received: Received) -> None:
        self.offsets[received.partition() or 0] = (received.offset() or 0) + 1

    def __str__(self) -> str:
        return ",".join(f"{partition}:{offset}" for partition, offset in self.offsets.items())


def _assign(consumer: Consumer, topic: str, position: _Position) -> None:
    """A partition that the position does not name is read from its beginning."""
    places: list[TopicPartition] = []
    for partition in partitions_of(consumer, topic):
        oldest, _ = consumer.get_watermark_offsets(TopicPartition(topic, partition), timeout=10)
        offset = position.offsets.setdefault(partition, oldest)
        places.append(TopicPartition(topic, partition, offset))
    consumer.assign(places)


def _consume(consumer: Consumer) -> Sequence[Received]:
    """Raises PositionLostError, KafkaException."""
    found: list[Received] = []
    for received in consumer.consume(_BATCH, _POLL_SECONDS):
        error = received.error()
        if error is None:
            found.append(received)
        elif error.code() == KafkaError._AUTO_OFFSET_RESET:  # noqa: SLF001 - the client's name
            raise PositionLostError(error.str())
        elif error.fatal():
            raise KafkaException(error)
    return found


def _store(consumer: Consumer, received: Received) -> None:
    try:
        consumer.store_offsets(received)
    except KafkaException as error:
        # Another member has the partition now, and gets the event again.
        if error.args[0].code() != KafkaError._STATE:  # noqa: SLF001 - as above
            raise


def _event(message: Message, position: str | None) -> Event:
    data = orjson.loads(message.data)
    return Event(
        workflow_id=data["aggregateId"],
        version=data["version"],
        event_id=message.id,
        type=message.type,
        event_type=data["eventType"],
        occurred_at=parse_rfc3339(data["occurredAt"]),
        actor=data.get("actor", ""),
        causation_id=message.extensions.get("causationid", ""),
        data=data,
        position=position,
    )

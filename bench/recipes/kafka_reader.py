"""A bare consumer, polled in a thread of its own: first for one record, then for all that are there."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from typing import Any

from confluent_kafka import Consumer, Message, TopicPartition

from adapters.kafka.settings import CLIENT_LOG

_BATCH = 1000
_WAIT_SECONDS = 0.1

#: The broker's topic name and the partition.
Lane = tuple[str, int]


class KafkaReader:
    """Reads topics from their beginning."""

    def __init__(self, properties: Mapping[str, Any], topics: Sequence[str]) -> None:
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="bench-reader")
        self._consumer = Consumer(dict(properties), logger=CLIENT_LOG)
        self._consumer.subscribe(list(topics), on_assign=_from_the_beginning)

    async def take(self) -> Sequence[Message]:
        """What is there, at most a batch; waits a little for the first record."""
        return await self._in_thread(self._take)

    async def commit(self, next_offsets: Mapping[Lane, int]) -> None:
        places = [TopicPartition(*lane, offset) for lane, offset in next_offsets.items()]
        await self._in_thread(lambda: self._consumer.commit(offsets=places, asynchronous=False))

    async def close(self) -> None:
        await self._in_thread(self._consumer.close)
        self._thread.shutdown()

    def _take(self) -> Sequence[Message]:
        messages = self._consumer.consume(1, _WAIT_SECONDS)
        if messages:
            messages += self._consumer.consume(_BATCH - 1, 0)
        return [message for message in messages if message.error() is None]

    async def _in_thread(self, call: Any) -> Any:
        return await asyncio.get_running_loop().run_in_executor(self._thread, call)


def _from_the_beginning(consumer: Consumer, places: list[TopicPartition]) -> None:
    consumer.assign([TopicPartition(place.topic, place.partition, 0) for place in places])


def lane_of(message: Message) -> Lane:
    return message.topic() or "", message.partition() or 0


def key_of(message: Message) -> str:
    key = message.key()
    return key.decode() if isinstance(key, bytes) else key or ""

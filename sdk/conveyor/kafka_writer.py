"""Writing records to Kafka, acknowledged by all in-sync replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Callable, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Report

from conveyor.cloudevents import encode
from conveyor.errors import ServerUnavailableError
from conveyor.messages import Message, Record

#: librdkafka's own lines (connections refused, rebalances, ...).
CLIENT_LOG = logging.getLogger("librdkafka")

_FLUSH_SLICE_SECONDS = 0.5


class KafkaWriter:
    """An idempotent producer that never gives a message up; keys go where every client's go.

    `topic_prefix` stands before every topic's name on the broker.
    """

    def __init__(
        self, bootstrap_servers: str, properties: Mapping[str, str], topic_prefix: str = ""
    ) -> None:
        self._prefix = topic_prefix
        self._failures: list[KafkaError] = []
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conveyor-writer")
        self._producer: Producer | None = Producer(
            {
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "message.timeout.ms": 0,
                "linger.ms": 5,
                "delivery.report.only.error": True,
                "on_delivery": _keep_failures(self._failures),
                **properties,
                "bootstrap.servers": bootstrap_servers,
            },
            logger=CLIENT_LOG,
        )

    async def write(self, messages: Sequence[Message | Record]) -> None:
        """Returns when the broker has them all.

        Raises `ServerUnavailableError` if it refused one; others may be written then.
        """
        loop = asyncio.get_running_loop()
        await loop.run_in_executor(self._thread, self._write, messages)

    async def close(self) -> None:
        """A `write` that still waits for the broker raises `ServerUnavailableError`."""
        self._closing = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    def _drop(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            # The client library's threads end with the last reference.
            self._producer = None

    def _write(self, messages: Sequence[Message | Record]) -> None:
        producer = self._producer
        if producer is None:
            raise ServerUnavailableError("kafka", "the writer is closed")
        self._failures.clear()
        for message in messages:
            self._produce(producer, encode(message) if isinstance(message, Message) else message)
        # The linger ends with a flush, so it only gathers the batch and costs no waiting.
        while producer.flush(_FLUSH_SLICE_SECONDS):
            if self._closing:
                raise ServerUnavailableError("kafka", "closed before everything was written")
        if self._failures:
            raise ServerUnavailableError("kafka", self._failures[0].str())

    def _produce(self, producer: Producer, record: Record) -> None:
        while True:
            try:
                producer.produce(
                    self._prefix + record.topic,
                    record.value,
                    record.key,
                    -1 if record.partition is None else record.partition,
                    headers=list(record.headers),
                )
            except BufferError:
                producer.poll(_FLUSH_SLICE_SECONDS)
            except KafkaException as error:
                raise ServerUnavailableError("kafka", str(error)) from error
            else:
                return


def _keep_failures(failures: list[KafkaError]) -> Callable[[KafkaError | None, Report], None]:
    def on_delivery(error: KafkaError | None, _: Report) -> None:
        if error is not None:
            failures.append(error)

    return on_delivery

"""Writing records to Kafka, acknowledged by all in-sync replicas."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from typing import NamedTuple, TypeAlias

from confluent_kafka import KafkaError, KafkaException, Producer
from confluent_kafka import Message as Report

from conveyor.cloudevents import encode
from conveyor.dead_letters import TOPIC_BYTES_MAX
from conveyor.errors import ServerUnavailableError
from conveyor.kafka_errors import Verdict, verdict
from conveyor.messages import Message, Record

#: librdkafka's own lines (connections refused, rebalances, ...).
CLIENT_LOG = logging.getLogger("librdkafka")

_FLUSH_SLICE_SECONDS = 0.5

Writable: TypeAlias = Message | Record


class Refused(NamedTuple):
    """A message that Kafka will not take, however often it is written."""

    message: Writable
    #: `RECORD` or `TOPIC`.
    verdict: Verdict
    #: What the client library says.
    detail: str


class _Failed(NamedTuple):
    message: Writable
    error: KafkaError


class KafkaWriter:
    """An idempotent producer that retries until the broker has taken or refused every record.

    Keys go to the same partitions as with every other client. `topic_prefix` stands before every
    topic's name on the broker.
    """

    def __init__(
        self, bootstrap_servers: str, properties: Mapping[str, str], topic_prefix: str = ""
    ) -> None:
        self._bootstrap_servers = bootstrap_servers
        self._properties = dict(properties)
        self._prefix = topic_prefix
        self._closing = False
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="conveyor-writer")
        #: None after a failure that ends a producer, until the next write.
        self._producer: Producer | None = self._new_producer()

    async def write(self, messages: Sequence[Writable]) -> Sequence[Refused]:
        """Return when the broker has them all, apart from those that it never takes.

        Raises `ServerUnavailableError` for a failure that passes; some are written then, others not.
        """
        loop = asyncio.get_running_loop()
        return await loop.run_in_executor(self._thread, self._write, messages)

    async def close(self) -> None:
        """A `write` that still waits for the broker raises `ServerUnavailableError`."""
        self._closing = True
        await asyncio.get_running_loop().run_in_executor(self._thread, self._drop)
        self._thread.shutdown(wait=False)

    # -- in the writer's thread ------------------------------------------------------------------

    def _write(self, messages: Sequence[Writable]) -> list[Refused]:
        """A broker refuses a batch for one record of it, so halves are written until it is alone."""
        failures = self._send(messages)
        refused = [Refused(m, verdict(e), e.str()) for m, e in failures]
        if len(messages) == 1:
            return refused
        suspects = [each.message for each in refused if each.verdict is Verdict.RECORD]
        refused = [each for each in refused if each.verdict is not Verdict.RECORD]
        middle = (len(suspects) + 1) // 2
        for half in (suspects[:middle], suspects[middle:]):
            if half:
                refused += self._write(half)
        return refused

    def _send(self, messages: Sequence[Writable]) -> list[_Failed]:
        """Write them once; the failures are final. Raises `ServerUnavailableError` for others."""
        producer = self._open()
        failures: list[_Failed] = []
        try:
            for message in messages:
                self._produce(producer, message, failures)
            # The linger ends with a flush, so it only gathers the batch and costs no waiting.
            while producer.flush(_FLUSH_SLICE_SECONDS):
                self._require_open()
        except (KafkaException, SystemError) as fatal:
            # A fatal error of the producer, which the client library loses in a SystemError when a
            # delivery report follows it.
            self._drop()
            raise ServerUnavailableError("kafka", str(fatal)) from fatal
        for _, error in failures:
            if verdict(error) is Verdict.PASSING:
                if error.fatal():
                    self._drop()
                raise ServerUnavailableError("kafka", error.str())
        return failures

    def _produce(self, producer: Producer, message: Writable, failures: list[_Failed]) -> None:
        record = encode(message) if isinstance(message, Message) else message
        while True:
            try:
                producer.produce(
                    self._prefix + record.topic,
                    record.value,
                    record.key,
                    -1 if record.partition is None else record.partition,
                    partial(_report, failures, message),
                    headers=list(record.headers),
                )
            except BufferError:
                self._require_open()
                producer.poll(_FLUSH_SLICE_SECONDS)
            except KafkaException as refusal:
                error: KafkaError = refusal.args[0]
                if verdict(error) is Verdict.PASSING:
                    raise
                failures.append(_Failed(message, error))
                return
            else:
                return

    def _open(self) -> Producer:
        self._require_open()
        if self._producer is None:
            self._producer = self._new_producer()
        return self._producer

    def _new_producer(self) -> Producer:
        return Producer(
            {
                "enable.idempotence": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "message.timeout.ms": 0,
                "linger.ms": 5,
                "message.max.bytes": TOPIC_BYTES_MAX,
                # A topic that does not exist holds up the others for this long, once.
                "topic.metadata.propagation.max.ms": 5_000,
                "delivery.report.only.error": True,
                **self._properties,
                "bootstrap.servers": self._bootstrap_servers,
            },
            logger=CLIENT_LOG,
        )

    def _require_open(self) -> None:
        if self._closing:
            raise ServerUnavailableError("kafka", "the writer is closed")

    def _drop(self) -> None:
        if self._producer is not None:
            self._producer.purge()
            # The client library's threads end with the last reference.
            self._producer = None


def _report(
    failures: list[_Failed], message: Writable, error: KafkaError | None, _: Report
) -> None:
    if error is not None:
        failures.append(_Failed(message, error))

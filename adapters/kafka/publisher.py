"""Publishing in order and without gaps (PROTOCOL rule 7).

The producer never gives a message up by itself: it retries until the broker takes it, in the order
in which it was handed over. `linger.ms` costs no time here, because `flush` sends at once; it only
keeps the client from sending the first messages of a batch while the rest is still handed over.
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from conveyor.cloudevents import encode
from conveyor.messages import Message, Record

from adapters.kafka.errors import CLOSED, FATAL, error_of, unavailable
from adapters.kafka.received import BrokerMessage
from adapters.kafka.settings import CLIENT_LOG, KafkaSettings
from application.ports import Unavailable

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_FLUSH_SLICE_SECONDS = 0.5
_FULL_QUEUE_WAIT_SECONDS = 0.1


class KafkaPublisher:
    """`PublishEventPort` on Kafka, for any number of tasks at a time.

    After `Unavailable` some messages of any call under way may have been written and others not.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._session = _Session(settings)

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        if not messages:
            return
        session = self._session
        try:
            await session.send(messages)
        except Unavailable as error:
            if self._session is session:
                log.warning("producer replaced", action="publisher.replaced", detail=error.detail)
                self._session = _Session(self._settings)
                # What it still holds would otherwise go out beside what comes again.
                session.end(CLOSED)
            raise

    async def close(self) -> None:
        """A `publish` that still waits for the broker raises `Unavailable`."""
        self._session.end(CLOSED)


class _Session:
    """The life of one producer; it ends with the first message that was not written."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._prefix = settings.topic_prefix
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "message.timeout.ms": 0,
                "linger.ms": 5,
                "message.max.bytes": 4 * 1024 * 1024,
                "queue.buffering.max.messages": 1_000_000,
                "delivery.report.only.error": True,
                "on_delivery": self._on_delivery,
                **settings.client(),
            },
            logger=CLIENT_LOG,
        )
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="kafka-publisher")
        self._flush = asyncio.Lock()
        #: Calls whose messages were handed to the client / of which the broker has everything.
        self._handed_over = 0
        self._acknowledged = 0
        self._failure: KafkaError | None = None

    async def send(self, messages: Sequence[Message | Record]) -> None:
        """Returns when the broker has them all; raises `Unavailable` when the session has ended."""
        loop = asyncio.get_running_loop()
        for message in messages:
            record = encode(message) if isinstance(message, Message) else message
            while not self._hand_over(record):
                await loop.run_in_executor(
                    self._thread, self._producer.poll, _FULL_QUEUE_WAIT_SECONDS
                )
        self._handed_over += 1
        ticket = self._handed_over
        async with self._flush:
            if self._acknowledged < ticket and self._failure is None:
                covered = self._handed_over
                await loop.run_in_executor(self._thread, self._wait_until_written)
                self._acknowledged = covered
        if self._failure is not None:
            raise unavailable(self._failure)

    def end(self, reason: KafkaError) -> None:
        """Drop what is not written, and tell those who wait."""
        if self._failure is None:
            self._failure = reason
        self._producer.purge()
        self._thread.shutdown(wait=False)

    def _hand_over(self, record: Record) -> bool:
        """False if the client's queue is full."""
        if self._failure is not None:
            raise unavailable(self._failure)
        try:
            self._producer.produce(
                self._prefix + record.topic,
                record.value,
                record.key,
                -1 if record.partition is None else record.partition,
                headers=list(record.headers),
            )
        except BufferError:
            return False
        except KafkaException as error:
            self.end(error_of(error))
            raise unavailable(error) from error
        return True

    def _wait_until_written(self) -> None:
        try:
            while self._failure is None and self._producer.flush(_FLUSH_SLICE_SECONDS) > 0:
                pass
        except KafkaException as error:
            self._failure = self._failure or error_of(error)
        except SystemError:
            # The client loses its own fatal error when a delivery report follows in the same call.
            self._failure = self._failure or KafkaError(FATAL)

    def _on_delivery(self, error: KafkaError | None, _: BrokerMessage) -> None:
        if error is not None and self._failure is None:
            self._failure = error

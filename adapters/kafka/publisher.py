"""Publishing in order and without gaps (PROTOCOL rule 7).

The producer never gives a message up: it retries until the broker accepts it, in the order of the calls. `linger.ms`
costs no time here, because `flush` sends at once. It only keeps the client from sending the first messages of a batch
while the rest is still being handed over.
"""

from __future__ import annotations

import asyncio
import contextlib
import time
from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor

import structlog
from confluent_kafka import KafkaError, KafkaException, Producer
from conveyor.cloudevents import headers_of
from conveyor.kafka_errors import Verdict, verdict
from conveyor.messages import Message, Record

from adapters.kafka.errors import CLOSED, FATAL, error_of, unavailable
from adapters.kafka.received import BrokerMessage
from adapters.kafka.settings import CLIENT_LOG, KafkaSettings
from application.ports import Refused, Unavailable

log: structlog.stdlib.BoundLogger = structlog.get_logger(__name__)

_FLUSH_SLICE_SECONDS = 0.5
_FULL_QUEUE_WAIT_SECONDS = 0.1
_REPORTS_SECONDS = 2.0
#: A topic that is unknown for this long does not exist. Everything else waits meanwhile.
_NEW_TOPIC_MS = 5_000


class KafkaPublisher:
    """`PublishEventPort` on Kafka, for any number of tasks at a time.

    After `Unavailable`, some messages of any concurrent call may have been written and others not.
    """

    def __init__(self, settings: KafkaSettings) -> None:
        self._settings = settings
        self._session = _Session(settings)
        self._is_closed = False

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        if not messages:
            return
        session = self._session
        try:
            await session.send(messages)
        except Unavailable as error:
            if self._session is session and not self._is_closed:
                log.warning("producer replaced", action="publisher.replaced", detail=error.detail)
                self._session = _Session(self._settings)
                # Otherwise both its messages and their repetitions would be sent.
                session.end(CLOSED)
            raise

    async def close(self) -> None:
        """Every `publish` raises `Unavailable` from now on, also one that waits for the broker."""
        self._is_closed = True
        self._session.end(CLOSED)


class _Session:
    """The lifetime of one producer, which ends with the first message that was not written."""

    def __init__(self, settings: KafkaSettings) -> None:
        self._prefix = settings.topic_prefix
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "enable.gapless.guarantee": True,
                "acks": "all",
                "partitioner": "murmur2_random",
                "message.timeout.ms": 0,
                "topic.metadata.propagation.max.ms": _NEW_TOPIC_MS,
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
        #: Calls whose messages were handed to the client, and calls whose messages the broker has.
        self._handed_over = 0
        self._acknowledged = 0
        self._failure: KafkaError | None = None
        #: The first message that was not written, and why.
        self._report: tuple[KafkaError, BrokerMessage] | None = None

    async def send(self, messages: Sequence[Message | Record]) -> None:
        """Returns when the broker has them all; raises `Unavailable` when the session has ended."""
        loop = asyncio.get_running_loop()
        for message in messages:
            while not self._hand_over(message):
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
            raise self._failed(self._failure)

    def _failed(self, failure: KafkaError) -> Unavailable:
        """Why the session has ended."""
        if self._report is not None:
            error, report = self._report
            if verdict(error) is not Verdict.PASSING:
                topic = (report.topic() or "").removeprefix(self._prefix)
                return Refused("kafka", topic, error.str())
        return unavailable(failure)

    def end(self, reason: KafkaError) -> None:
        """Drop what is not written, and fail the waiting calls."""
        if self._failure is None:
            self._failure = reason
        self._producer.purge()
        self._thread.shutdown(wait=False)

    def _hand_over(self, message: Message | Record) -> bool:
        """False if the client's queue is full."""
        if self._failure is not None:
            raise self._failed(self._failure)
        if isinstance(message, Message):
            value, headers = message.data, headers_of(message)
        else:
            value, headers = message.value, message.headers
        try:
            self._producer.produce(
                self._prefix + message.topic,
                value,
                message.key,
                -1 if message.partition is None else message.partition,
                headers=[*headers],
            )
        except BufferError:
            return False
        except KafkaException as exception:
            error = error_of(exception)
            self.end(error)
            if verdict(error) is not Verdict.PASSING:
                raise Refused("kafka", message.topic, error.str()) from exception
            raise self._failed(error) from exception
        return True

    def _wait_until_written(self) -> None:
        try:
            while self._failure is None and self._producer.flush(_FLUSH_SLICE_SECONDS) > 0:
                pass
        except KafkaException as error:
            self._failure = self._failure or error_of(error)
            self._collect_reports()
        except SystemError:
            # The client loses its fatal error when a delivery report follows in the same call.
            self._failure = self._failure or KafkaError(FATAL)

    def _collect_reports(self) -> None:
        """A fatal error comes before the reports, which say what was refused and why."""
        deadline = time.monotonic() + _REPORTS_SECONDS
        while self._report is None and len(self._producer) and time.monotonic() < deadline:
            with contextlib.suppress(KafkaException, SystemError):
                self._producer.poll(_REPORTS_SECONDS / 10)

    def _on_delivery(self, error: KafkaError | None, report: BrokerMessage) -> None:
        # No calls here: after a fatal error the client leaves an exception set, and any call would fail.
        if error is not None:
            if self._report is None:
                self._report = (error, report)
            if self._failure is None:
                self._failure = error

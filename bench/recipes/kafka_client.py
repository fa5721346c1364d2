"""The client of the Kafka mode: writes start commands and reads the ends, as lightly as can be.

It is one loop on a bare producer and a bare consumer. Of the events it looks at the type and the
key; only an event that may be the last of its workflow is decoded.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Sequence

from confluent_kafka import Consumer, Message, Producer, TopicPartition
from conveyor import topics, types
from conveyor.times import rfc3339

from adapters.kafka.settings import CLIENT_LOG, KafkaSettings
from bench.recipes.embedded_client import SOURCE
from bench.recipes.load import Phase, Start
from infrastructure.clock import SystemClock

_WAIT_SECONDS = 0.5
_EVENTS_AT_ONCE = 5000
#: Below this many in flight every millisecond of lingering would be seen in the latency.
_MANY_IN_FLIGHT = 50


class KafkaClient:
    """Drives phases over topics that nothing was written to before."""

    def __init__(
        self,
        settings: KafkaSettings,
        partitions: int,
        in_flight: int,
        check: Callable[[], None],
    ) -> None:
        """`check` is called while nothing comes, and raises if nothing will."""
        self._commands = settings.on_broker(topics.COMMANDS)
        self._check = check
        self._clock = SystemClock()
        self._producer = Producer(
            {
                "enable.idempotence": True,
                "partitioner": "murmur2_random",
                "linger.ms": 1 if in_flight > _MANY_IN_FLIGHT else 0,
                **settings.client(),
            },
            logger=CLIENT_LOG,
        )
        self._consumer = Consumer(
            {
                # Demanded by the client; without a subscription or commit no group comes of it.
                "group.id": f"{settings.group_id}-bench",
                "enable.auto.commit": False,
                **settings.client(),
            },
            logger=CLIENT_LOG,
        )
        events = settings.on_broker(topics.EVENTS)
        self._consumer.assign([TopicPartition(events, place, 0) for place in range(partitions)])

    def close(self) -> None:
        self._producer.purge()
        self._producer.poll(0)
        self._consumer.close()

    def drive(self, phase: Phase, tick: Callable[[Phase], None] | None = None) -> None:
        """Run the phase to its end. Raises BenchError when nothing ends any more."""
        while not phase.is_over:
            self._start(phase)
            # `consume` waits for as many as it is asked for, so it is asked for one first.
            messages = self._consumer.consume(1, _WAIT_SECONDS)
            if messages:
                messages += self._consumer.consume(_EVENTS_AT_ONCE, 0)
            if _end(phase, messages):
                if tick is not None:
                    tick(phase)
            elif not messages:
                self._check()
                phase.check_progress()

    def _start(self, phase: Phase) -> None:
        now = rfc3339(self._clock.now()).encode()
        for start in phase.due():
            self._producer.produce(
                self._commands, start.data, start.workflow_id, headers=_headers(start, now)
            )
        self._producer.poll(0)


def _headers(start: Start, now: bytes) -> list[tuple[str, str | bytes | None]]:
    return [
        ("ce_specversion", b"1.0"),
        ("ce_id", start.workflow_id.encode()),
        ("ce_source", SOURCE.encode()),
        ("ce_type", types.START.encode()),
        ("ce_subject", start.workflow_id.encode()),
        ("ce_time", now),
        ("content-type", b"application/json"),
    ]


def _end(phase: Phase, messages: Sequence[Message]) -> int:
    """Note the ends among the events. Returns how many workflows have ended."""
    before, now = phase.ended, time.perf_counter()
    marks = {event_type.encode() for event_type in phase.marks}
    for message in messages:
        for name, value in message.headers() or ():
            if name == "ce_type":
                if value in marks:
                    how = phase.ending(_text(value), message.value() or b"")
                    if how is not None:
                        phase.end(_text(message.key()), how, now)
                break
    return phase.ended - before


def _text(value: str | bytes | None) -> str:
    return value.decode() if isinstance(value, bytes) else value or ""

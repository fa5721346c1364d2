"""Records that no receiver can carry out, among those that it can."""

from __future__ import annotations

import uuid
from random import Random

from confluent_kafka import KafkaError, Message, Producer

from tests.acceptance.sites import PARTITIONS, START, Site

#: Topic, partition, offset.
Place = tuple[str, int, int]


class Poison:
    """Bad records of one site, and where they came to lie."""

    def __init__(self, site: Site, rng: Random) -> None:
        self._prefix = site.prefix
        self._rng = rng
        self._producer = Producer({"bootstrap.servers": site.kafka, "log_level": 0})
        self.places: set[Place] = set()

    def pour(self, topic: str, count: int) -> None:
        """On random partitions; acknowledged when this returns."""
        for _ in range(count):
            value, headers = self._record()
            self._producer.produce(
                self._prefix + topic,
                value,
                self._rng.choice([None, b"", b"w1-1", self._rng.randbytes(8)]),
                self._rng.randrange(PARTITIONS),
                on_delivery=lambda error, message: self._delivered(topic, error, message),
                headers=headers,
            )
        assert self._producer.flush(30) == 0

    def _record(self) -> tuple[bytes | None, list[tuple[str, str | bytes | None]]]:
        """Bytes of all sorts, and events with one thing wrong."""
        event: dict[str, str | bytes | None] = {
            "ce_specversion": "1.0",
            "ce_id": uuid.uuid4().hex,
            "ce_source": "/poison",
            "ce_type": START,
            "ce_subject": "w1-1",
            "content-type": "application/json",
        }
        match self._rng.randrange(7):
            case 0:
                return None, []
            case 1:
                return self._rng.randbytes(self._rng.randrange(2000)), []
            case 2:
                return self._rng.randbytes(50), list(event.items())
            case 3:
                return b"[" * 100_000, list(event.items())
            case 4:
                return b"{}", list({**event, "ce_type": "orchestration.workflow.explode"}.items())
            case 5:
                return b"{}", list({**event, "ce_id": self._rng.randbytes(9) + b"\xff"}.items())
            case _:
                forged = {**event, "ce_type": "orchestration.internal.timer-due"}
                return b"{}", list(forged.items())

    def _delivered(self, topic: str, error: KafkaError | None, message: Message) -> None:
        assert error is None
        self.places.add((topic, message.partition() or 0, message.offset() or 0))

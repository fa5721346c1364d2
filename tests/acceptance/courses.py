"""What Kafka tells of workflows, read with a bare client, and what must hold for every course of events."""

from __future__ import annotations

import json
import logging
import threading
from collections import defaultdict
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from confluent_kafka import Consumer, TopicPartition

from tests.acceptance.programs import Program, until

log = logging.getLogger(__name__)

_CLOSE_SECONDS = 30.0
_PREFIX = "orchestration.workflow."
_ENDS = {"completed", "cancelled", "failed", "compensation.completed"}


@dataclass(frozen=True, slots=True, kw_only=True)
class Record:
    """As the broker stores it, decoded no further than any consumer would."""

    key: str
    headers: dict[str, str]
    value: bytes

    @property
    def type(self) -> str:
        return self.headers.get("ce_type", "")

    @property
    def data(self) -> dict[str, Any]:
        document: dict[str, Any] = json.loads(self.value)
        return document


class TopicReader:
    """Everything on one topic, from its beginning."""

    def __init__(self, bootstrap: str, topic: str) -> None:
        self._consumer = Consumer(
            {"bootstrap.servers": bootstrap, "group.id": "unused", "enable.auto.commit": False}
        )
        partitions = self._consumer.list_topics(topic, timeout=30).topics[topic].partitions
        self._consumer.assign([TopicPartition(topic, number, 0) for number in partitions])
        self.records: list[Record] = []

    def poll(self) -> list[Record]:
        """What came since the last call; all of it is in `records` as well."""
        first = self._consumer.poll(0.1)
        received = [] if first is None else [first, *self._consumer.consume(10_000, 0)]
        new = [
            Record(
                key=_text(message.key()),
                headers={name: _text(value) for name, value in message.headers() or ()},
                value=message.value() or b"",
            )
            for message in received
            if message.error() is None
        ]
        self.records += new
        return new

    def close(self) -> None:
        """Close the client, or leave it behind.

        Where connections broke, it may wait for itself for ever (confluentinc/librdkafka#5476), in C, where no time-out
        of a test reaches it.
        """
        closing = threading.Thread(target=self._consumer.close, daemon=True)
        closing.start()
        closing.join(_CLOSE_SECONDS)
        if closing.is_alive():
            log.warning("a Kafka client does not close")


def _text(value: str | bytes | None) -> str:
    """Also of what is no text: dead letters keep what they were."""
    return value.decode(errors="replace") if isinstance(value, bytes) else value or ""


class Courses:
    """The events of each workflow, in the order in which a careful consumer takes them."""

    def __init__(self, reader: TopicReader) -> None:
        self._reader = reader
        self._taken: dict[str, list[Record]] = defaultdict(list)
        #: Events of which an earlier one of the same workflow was not published before them.
        self.gaps: list[str] = []

    def read(self) -> None:
        """Take what was published since the last time."""
        for record in self._reader.poll():
            version: int = record.data["version"]
            if version == 0:
                continue  # a refusal without a workflow
            course = self._taken[record.key]
            if version > len(course) + 1:
                self.gaps.append(f"{record.key}: {version} came after {len(course)}")
            if version == len(course) + 1:
                course.append(record)

    def until_ended(
        self, ids: Collection[str], seconds: float = 30.0, programs: Sequence[Program] = ()
    ) -> None:
        """Read until each of the workflows has ended."""
        self.until_some_ended(ids, len(ids), seconds, programs)

    def until_some_ended(
        self,
        ids: Collection[str],
        count: int,
        seconds: float = 30.0,
        programs: Sequence[Program] = (),
    ) -> None:
        """Read until so many of the workflows have ended."""

        def look() -> bool:
            self.read()
            return self.ended(ids) >= count

        until(f"{count} of {len(ids)} workflows ended", look, seconds, programs)

    def until_event(self, workflow_id: str, event: str, seconds: float = 30.0) -> Record:
        """Read until the first event of the type `orchestration.workflow.<event>`."""
        type = _PREFIX + event

        def look() -> Record | None:
            self.read()
            return next((each for each in self.of(workflow_id) if each.type == type), None)

        return until(f"{type} of {workflow_id}", look, seconds)

    @property
    def records(self) -> list[Record]:
        """Every event read so far, as it came."""
        return self._reader.records

    def of(self, workflow_id: str) -> list[Record]:
        """The events read so far; one published again counts once."""
        return self._taken.get(workflow_id, [])

    def ended(self, ids: Collection[str]) -> int:
        """How many of the workflows have ended."""
        return sum(self.end_of(each) is not None for each in ids)

    def end_of(self, workflow_id: str) -> str | None:
        """The type of the event that ended the workflow, without its beginning; None: it goes on."""
        # Replies that come after the end are recorded after it.
        for event in reversed(self.of(workflow_id)):
            type = event.type.removeprefix(_PREFIX)
            if type == "compensation.started":
                return None
            if type in _ENDS:
                return type
        return None

    def types(self, workflow_id: str) -> list[str]:
        """The event types without their common beginning."""
        return [event.type.removeprefix(_PREFIX) for event in self.of(workflow_id)]

    def of_type(self, workflow_id: str, event: str) -> list[dict[str, Any]]:
        """The data of the events of the type `orchestration.workflow.<event>`."""
        return [each.data for each in self.of(workflow_id) if each.type == _PREFIX + event]


def moment(text: str) -> datetime:
    """A time as it stands in an event."""
    return datetime.fromisoformat(text)

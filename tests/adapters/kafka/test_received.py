"""Records that no well-behaved producer writes, and that must not stop a partition."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest
from conveyor.messages import MalformedEvent

from adapters.kafka.assignment import Lane
from adapters.kafka.received import BrokerMessage, received


class OddMessage:
    """As the client hands out a record whose header name is no UTF-8, found by trying."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def headers(self) -> None:
        raise SystemError("returned a result with an exception set")

    def key(self) -> bytes:
        return b"wf-1"

    def value(self) -> bytes:
        return b"{}"

    def leader_epoch(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (1, self._milliseconds)


def lane() -> Lane:
    return Lane(topic="commands", partition=3, topic_id="id", next_offset=0)


def test_unreadable_headers_are_a_malformed_event() -> None:
    """What can be read of the record is kept for the dead letter."""
    message = cast(BrokerMessage, OddMessage(1_795_252_313_123))

    read = received(message, lane(), 7)

    assert isinstance(read.message, MalformedEvent)
    assert read.message.code == "MALFORMED_EVENT"
    assert (read.record.key, read.record.value, read.record.headers) == (b"wf-1", b"{}", ())
    assert (read.position.partition, read.position.leader_epoch, read.position.offset) == (3, 0, 7)
    assert read.timestamp == datetime(2026, 11, 21, 9, 11, 53, 123_000, tzinfo=UTC)


@pytest.mark.parametrize("milliseconds", [2**62, -(2**62)])
def test_a_time_beyond_the_calendar_is_the_epoch(milliseconds: int) -> None:
    """A producer may write any number as the record's time."""
    message = cast(BrokerMessage, OddMessage(milliseconds))

    assert received(message, lane(), 0).timestamp == datetime(1970, 1, 1, tzinfo=UTC)

"""Times that no well-behaved producer writes, and that must not stop a partition."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest

from adapters.kafka.assignment import Lane
from adapters.kafka.received import BrokerMessage, received


class OddMessage:
    """As the client hands out a record."""

    def __init__(self, milliseconds: int) -> None:
        self._milliseconds = milliseconds

    def headers(self) -> None:
        return None

    def key(self) -> bytes:
        return b"wf-1"

    def value(self) -> bytes:
        return b"{}"

    def partition(self) -> int:
        return 3

    def leader_epoch(self) -> None:
        return None

    def timestamp(self) -> tuple[int, int]:
        return (1, self._milliseconds)


def lane() -> Lane:
    return Lane(topic="commands", partition=3, topic_id="id", next_offset=0)


@pytest.mark.parametrize("milliseconds", [2**62, -(2**62)])
def test_a_time_beyond_the_calendar_is_the_epoch(milliseconds: int) -> None:
    """A producer may write any number as the record's time."""
    message = cast(BrokerMessage, OddMessage(milliseconds))

    assert received(message, lane(), 0).timestamp == datetime(1970, 1, 1, tzinfo=UTC)

"""Times that no well-behaved producer writes, and that must not stop a partition."""

from __future__ import annotations

from datetime import UTC, datetime
from typing import cast

import pytest
from conveyor import topics, types
from conveyor.messages import Message

from adapters.kafka.assignment import Lane
from adapters.kafka.received import BrokerMessage, received
from adapters.kafka.settings import KafkaSettings

SETTINGS = KafkaSettings(
    bootstrap_servers="127.0.0.1:9", actor_sources=frozenset({"/conveyor/api"})
)


class OddMessage:
    """As the client hands out a record."""

    def __init__(
        self, milliseconds: int = 0, headers: list[tuple[str, bytes]] | None = None
    ) -> None:
        self._milliseconds = milliseconds
        self._headers = headers

    def headers(self) -> list[tuple[str, bytes]] | None:
        return self._headers

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


def lane(topic: str = topics.COMMANDS) -> Lane:
    return Lane(topic=topic, partition=3, topic_id="id", next_offset=0)


@pytest.mark.parametrize("milliseconds", [2**62, -(2**62)])
def test_a_time_beyond_the_calendar_is_the_epoch(milliseconds: int) -> None:
    """A producer may write any number as the record's time."""
    message = cast(BrokerMessage, OddMessage(milliseconds))

    assert received(message, lane(), 0, SETTINGS).timestamp == datetime(1970, 1, 1, tzinfo=UTC)


@pytest.mark.parametrize(
    ("source", "given", "actor"),
    [
        ("/conveyor/api", b"anna", "anna"),
        ("/conveyor/api", None, None),
        ("/shop", b"anna", "/shop"),
        ("/shop", None, "/shop"),
    ],
)
def test_an_actor_is_believed_of_trusted_sources_only(
    source: str, given: bytes | None, actor: str | None
) -> None:
    """Any other producer acts in its own name, whatever it claims."""
    headers = [
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", source.encode()),
        ("ce_type", types.CANCEL.encode()),
        *([("ce_actor", given)] if given is not None else []),
    ]
    message = cast(BrokerMessage, OddMessage(headers=headers))

    command = received(message, lane(), 0, SETTINGS).message
    reply = received(message, lane(topics.REPLIES), 0, SETTINGS).message

    assert isinstance(command, Message)
    assert isinstance(reply, Message)
    assert command.extensions.get("actor") == actor
    assert reply.extensions.get("actor") == (given.decode() if given else None)

"""Sorting what came from the inbox."""

from __future__ import annotations

from datetime import UTC, datetime

import pytest
from conveyor import topics, types
from conveyor.messages import Message

from application.engine.intake import MESSAGE_ID_MAX, sort
from application.ports import Received
from domain.aggregate.position import Position

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)


def received(message: Message) -> Received:
    return Received(Position("id", topics.COMMANDS, 0, 0, 7), message, NOW, message)


@pytest.mark.parametrize(("too_much", "letters"), [(0, []), (1, [b"TOO_LARGE"])])
def test_an_id_is_short_enough_to_come_again_in_every_outcome(
    too_much: int, letters: list[bytes]
) -> None:
    """Headers count for the limit of a topic, and a thousand ids are in one document (PROTOCOL rule 15)."""
    source = "/shop"
    id_ = "x" * (MESSAGE_ID_MAX - len(source) - 1 + too_much)
    pause = Message(
        topic=topics.COMMANDS,
        key="wf-1",
        subject="wf-1",
        type=types.PAUSE,
        source=source,
        id=id_,
        data=b"{}",
    )

    intake = sort([received(pause)], lambda _: 0, lambda _partition, _id: True, b"secret")

    assert [dict(letter.headers)["dlq-reason"] for letter in intake.dead_letters] == letters
    assert bool(intake.groups) is not bool(letters)

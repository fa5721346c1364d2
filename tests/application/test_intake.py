"""Sorting what came from the inbox."""

from __future__ import annotations

import gc
import weakref
from datetime import UTC, datetime

import pytest
from conveyor import topics, types
from conveyor.cloudevents import encode
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.values import replace

from application.aggregates.catalog import CATALOG
from application.codec.internal import signed_with
from application.engine.intake import MESSAGE_BYTES_MAX, MESSAGE_ID_MAX, Intake, sort
from application.ports import Received
from domain.aggregate.position import Position
from tests.messages import message_of

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)
SIGN = signed_with(b"secret")


def received(message: Message) -> Received:
    return Received(Position("id", topics.COMMANDS, 0, 0, 7), message, NOW, message)


def pause(id_: str = "1", **headers: bytes) -> Message:
    return message_of(types.PAUSE, id=id_, headers=headers)


def sorted_here(item: Received) -> Intake:
    return sort([item], lambda _: 0, lambda _partition, _id: True, CATALOG, SIGN)


def reasons(intake: Intake) -> list[bytes]:
    return [dict(letter.headers)["dlq-reason"] for letter in intake.dead_letters]


def test_a_malformed_record_does_not_stay_in_memory() -> None:
    """What is raised holds the frames that it passed, and they the record: a cycle that must be found."""
    fault = MalformedEvent("NOT_JSON", "no event")
    letter = weakref.ref(fault)
    sorted_here(Received(Position("id", topics.COMMANDS, 0, 0, 7), encode(pause()), NOW, fault))

    del fault
    gc.collect()

    assert letter() is None


@pytest.mark.parametrize(("too_much", "letters"), [(0, []), (1, [b"TOO_LARGE"])])
def test_an_id_is_short_enough_to_come_again_in_every_outcome(
    too_much: int, letters: list[bytes]
) -> None:
    """Headers count for the limit of a topic, and a thousand ids are in one document (PROTOCOL rule 15)."""
    source = "/shop"
    id_ = "x" * (MESSAGE_ID_MAX - len(source) - 1 + too_much)

    intake = sorted_here(received(pause(id_)))

    assert reasons(intake) == letters
    assert bool(intake.groups) is not bool(letters)


@pytest.mark.parametrize("part", ["key", "value", "headers"])
def test_a_message_is_measured_as_a_whole(part: str) -> None:
    """The limit of a topic counts what a compressed batch becomes; key and headers are in it."""
    record = encode(pause())
    much = b"x" * MESSAGE_BYTES_MAX
    changed = {"headers": (*record.headers, ("x", much))} if part == "headers" else {part: much}
    large: Record = replace(record, **changed)

    intake = sorted_here(Received(Position("id", topics.COMMANDS, 0, 0, 7), large, NOW, pause()))

    assert reasons(intake) == [b"TOO_LARGE"]


@pytest.mark.parametrize(
    ("hops", "sent_on"), [(None, b"1"), (b"1", b"2"), (b"2", None), (b"9" * 5_000, None)]
)
def test_a_message_is_sent_on_twice(hops: bytes | None, sent_on: bytes | None) -> None:
    """On the wrong partition; a count that no engine wrote is a dead letter, whatever it is."""
    message = pause() if hops is None else pause(hops=hops)

    intake = sort([received(message)], lambda _: 1, lambda _partition, _id: False, CATALOG, SIGN)

    assert [dict(record.headers)["hops"] for record in intake.rerouted] == [sent_on] * bool(sent_on)
    assert reasons(intake) == [b"WRONG_PARTITION"] * (sent_on is None)


def test_whatever_one_record_raises_costs_that_record() -> None:
    """The messages around it are sorted as ever."""

    def partition_of(workflow_id: str) -> int:
        raise RuntimeError("a bug")

    items = [received(pause("1")), received(pause("2"))]
    here = iter([False, True])

    intake = sort(items, partition_of, lambda _partition, _id: next(here), CATALOG, SIGN)

    assert reasons(intake) == [b"INTERNAL"]
    assert [work.message.id for work in intake.groups[0]["wf-1"]] == ["2"]

"""A record from the broker as the rest of the service knows it."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import UTC, datetime, timedelta
from operator import itemgetter
from typing import TypeAlias, cast

import confluent_kafka
from conveyor.cloudevents import decode
from conveyor.messages import MalformedEvent, Message, Record

from adapters.kafka.assignment import Lane
from application.ports import Received
from domain.aggregate.position import Position

BrokerMessage: TypeAlias = confluent_kafka.Message

_Headers: TypeAlias = Sequence[tuple[str, bytes]]
_VALUE = itemgetter(1)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def read(
    message: BrokerMessage, topic: str, partition: int
) -> tuple[Record, Message | MalformedEvent]:
    """The record as stored, and what it decodes to; `topic` is its name without the prefix.

    A header without a value reads as empty. Nothing that a producer can write raises here.
    """
    try:
        headers = tuple(cast("_Headers", message.headers() or ()))
    except SystemError as error:
        # The client reports a header name that is no UTF-8 like this, and cannot give the headers.
        record = Record(topic=topic, key=message.key(), value=message.value(), partition=partition)
        return record, MalformedEvent("MALFORMED_EVENT", f"unreadable headers: {error.__cause__}")
    if None in map(_VALUE, headers):
        headers = tuple((name, value or b"") for name, value in headers)
    record = Record(
        topic=topic,
        key=message.key(),
        value=message.value(),
        headers=headers,
        partition=partition,
    )
    try:
        return record, decode(record)
    except MalformedEvent as malformed:
        return record, malformed


def received(message: BrokerMessage, lane: Lane, offset: int) -> Received:
    """The message at this offset of the lane."""
    record, decoded = read(message, lane.topic, lane.partition)
    epoch = message.leader_epoch() or 0
    position = Position(lane.topic_id, lane.topic, lane.partition, epoch, offset)
    return Received(position, record, _time(message), decoded)


def _time(message: BrokerMessage) -> datetime:
    """The epoch if the record has no timestamp, or one that no calendar knows."""
    try:
        return _EPOCH + timedelta(milliseconds=message.timestamp()[1])
    except OverflowError:
        return _EPOCH

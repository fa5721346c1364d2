"""A record from the broker as the rest of the service knows it."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import confluent_kafka
from conveyor.kafka_records import read

from adapters.kafka.assignment import Lane
from application.ports import Received
from domain.aggregate.position import Position

BrokerMessage: TypeAlias = confluent_kafka.Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def received(message: BrokerMessage, lane: Lane, offset: int) -> Received:
    """The message at this offset of the lane."""
    record, decoded = read(message, lane.topic)
    epoch = message.leader_epoch() or 0
    position = Position(lane.topic_id, lane.topic, lane.partition, epoch, offset)
    return Received(position, record, time_of(message), decoded)


def time_of(message: BrokerMessage) -> datetime:
    """The record's time; the epoch if it has none, or one that no calendar knows."""
    try:
        return _EPOCH + timedelta(milliseconds=message.timestamp()[1])
    except OverflowError:
        return _EPOCH

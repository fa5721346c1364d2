"""Converts a record from the broker to a received message."""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import TypeAlias

import confluent_kafka
from conveyor.kafka_records import read
from conveyor.messages import Message
from conveyor.values import replace

from adapters.kafka.assignment import Lane
from adapters.kafka.settings import KafkaSettings
from application.ports import Received
from domain.aggregate.position import Position

BrokerMessage: TypeAlias = confluent_kafka.Message

_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


def received(message: BrokerMessage, lane: Lane, offset: int, settings: KafkaSettings) -> Received:
    """The message at this offset of the lane."""
    record, decoded = read(message, lane.topic)
    if lane.topic == settings.commands_topic and isinstance(decoded, Message):
        decoded = _attributed(decoded, settings.actor_sources)
    epoch = message.leader_epoch() or 0
    position = Position(lane.topic_id, lane.topic, lane.partition, epoch, offset)
    return Received(position, record, time_of(message), decoded)


def _attributed(command: Message, actor_sources: frozenset[str]) -> Message:
    """The command with a trustworthy actor: a source that is not trusted acts only for itself."""
    if command.source in actor_sources:
        return command
    return replace(command, extensions={**command.extensions, "actor": command.source})


def time_of(message: BrokerMessage) -> datetime:
    """The record's time; the epoch if it has none or an invalid one."""
    try:
        return _EPOCH + timedelta(milliseconds=message.timestamp()[1])
    except OverflowError:
        return _EPOCH

"""Partitions that go away and come back while a participant has no room for requests."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, cast

import pytest
from confluent_kafka import Consumer, Message, TopicPartition
from conveyor import topics
from conveyor.cloudevents import encode
from conveyor.kafka import KafkaTransport

from tests.sdk.requests_of import step_request

REQUESTS = topics.step_requests("inventory-service")


class ScriptedConsumer:
    """Delivers what the script says, and calls back as the client library does: within `poll` and `consume`."""

    def __init__(self, transport: KafkaTransport) -> None:
        self._transport = transport
        self.delivers: list[Message] = []
        self.rebalances = False

    def poll(self, _seconds: float) -> Message | None:
        self._rebalance()
        return self.delivers.pop(0) if self.delivers else None

    def consume(self, count: int, _seconds: float) -> Sequence[Message]:
        self._rebalance()
        delivered, self.delivers = self.delivers[:count], self.delivers[count:]
        return delivered

    def _rebalance(self) -> None:
        if self.rebalances:
            self.rebalances = False
            self.assign_again()

    def assign_again(self) -> None:
        place = [TopicPartition(REQUESTS, 0)]
        itself = cast("Consumer", self)
        self._transport._on_gone(itself, place)
        self._transport._on_assign(itself, place)

    def assignment(self) -> list[Any]:
        return []

    def pause(self, _: list[Any]) -> None: ...

    def resume(self, _: list[Any]) -> None: ...

    def close(self) -> None: ...


def request_at(offset: int) -> Message:
    record = encode(step_request(f"wf-{offset}"))
    return Message(
        topic=record.topic,
        partition=0,
        offset=offset,
        key=record.key,
        value=record.value,
        headers=list(record.headers),
    )


@pytest.mark.parametrize("rebalances_later", [False, True])
async def test_a_kept_message_does_not_overtake(rebalances_later: bool) -> None:
    """It comes again in its place. Else the requests before it would count as finished as soon as it is."""
    transport = KafkaTransport("127.0.0.1:1")
    consumer = ScriptedConsumer(transport)
    transport._consumer = cast("Consumer", consumer)
    consumer.assign_again()
    consumer.delivers = [request_at(0), request_at(1)]
    first = await transport.take(1, 0)
    await transport.take(0, 0)

    if rebalances_later:
        consumer.rebalances = True
    else:
        consumer.assign_again()
    consumer.delivers = [request_at(0), request_at(1), request_at(2)]
    again = await transport.take(10, 0)
    await transport.close()

    assert [each.offset for each in first] == [0]
    assert [each.offset for each in again] == [0, 1, 2]

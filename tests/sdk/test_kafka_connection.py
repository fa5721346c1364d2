"""The client over Kafka where there is no broker."""

from __future__ import annotations

import asyncio

import pytest
from conveyor.endings import Ending
from conveyor.errors import ServerUnavailableError
from conveyor.http_connection import HttpConnection
from conveyor.kafka_connection import KafkaConnection


class Elsewhere(HttpConnection):
    """An address where something else responds at once."""

    def __init__(self) -> None:
        super().__init__("http://127.0.0.1:1", api_key=None, timeout_seconds=1)
        self.looks = 0

    async def ending(self, workflow_id: str) -> Ending:
        self.looks += 1
        await asyncio.sleep(0)
        raise ServerUnavailableError("conveyor", f"{workflow_id}: not Conveyor's response")


async def test_a_wrong_address_is_not_asked_without_pause() -> None:
    """The result is waited for, a few looks each second."""
    http = Elsewhere()
    connection = KafkaConnection(
        "127.0.0.1:1", source="/tests", topic_prefix="", properties={}, timeout_seconds=1, http=http
    )
    try:
        with pytest.raises(TimeoutError):
            async with asyncio.timeout(0.5):
                await connection.result("wf-1")
    finally:
        await connection.close()

    assert 2 <= http.looks <= 10

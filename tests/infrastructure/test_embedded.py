"""What `conveyor dev` does beside its engine."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

from conveyor.messages import Message, Record

from adapters.sqlite.feed import SqliteEventFeed
from adapters.sqlite.store import SqliteStore
from application.gateway import CommandGateway
from application.ports import Unavailable
from infrastructure.clock import SystemClock
from infrastructure.embedded import send_orders


class Refusing:
    """A publisher that refuses the first messages."""

    def __init__(self, refused: int) -> None:
        self._refused = refused
        self.asked = asyncio.Semaphore(0)

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        self.asked.release()
        if self._refused:
            self._refused -= 1
            raise Unavailable("eventStore", "SQLite: database or disk is full")


async def test_orders_that_are_refused_end_no_process(tmp_path: Path) -> None:
    """The next one comes in its time."""
    store = SqliteStore(tmp_path / "conveyor.db")
    publisher = Refusing(2)
    gateway = CommandGateway(publisher, SqliteEventFeed(store), SystemClock())
    stop = asyncio.Event()

    orders = asyncio.create_task(send_orders(gateway, 1000.0, stop))
    async with asyncio.timeout(10):
        for _ in range(4):
            await publisher.asked.acquire()
        assert not orders.done()
        stop.set()
        await orders
    await store.close()

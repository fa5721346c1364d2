"""One step under workers that are slow, die, answer late or twice, and lose their leases; on virtual time."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from random import Random
from typing import Any

import pytest
from conveyor import types
from conveyor.key_store import MemoryKeyStore
from conveyor.memory import MemoryTransport
from conveyor.messages import Message

from adapters.memory.virtual_time import run
from application.ports import Unavailable
from application.use_cases.refusal import Refused
from application.workers.desk import ServicePorts, WorkerDesk
from application.workers.leases import Lent
from domain.values import Value
from tests.sdk.requests_of import data_of, seal_request, step_request

SERVICE = "inventory-service"
KEY = "wf-1/reserve-inventory/1"
BEGAN = datetime(2026, 1, 1, tzinfo=UTC)


class VirtualClock(Value):
    """The time of the loop."""

    def now(self) -> datetime:
        return BEGAN + timedelta(seconds=self.monotonic())

    def monotonic(self) -> float:
        return asyncio.get_running_loop().time()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)


class Shelf:
    """Where the effect is: at most once by its key, and never after a seal, as a worker promises."""

    def __init__(self) -> None:
        #: The attempt that had the effect; 0: none.
        self.attempt = 0
        self.is_sealed = False

    def reserve(self, attempt: int) -> bool:
        if self.is_sealed:
            return False
        self.attempt = self.attempt or attempt
        return True


class World:
    def __init__(self, seed: int) -> None:
        self.dice = Random(seed)
        self.shelf = Shelf()
        self.transport = MemoryTransport()
        ports = ServicePorts(self.transport, MemoryKeyStore())
        self.desk = WorkerDesk(lambda _: ports, self._services, VirtualClock(), "desk")
        self.stop = asyncio.Event()

    async def _services(self) -> list[str]:
        return [SERVICE]

    async def is_gone(self) -> bool:
        return self.dice.random() < 0.05

    async def work(self) -> None:
        """A worker that does anything but lie."""
        while not self.stop.is_set():
            try:
                lent = await self.desk.take(
                    SERVICE, 2, wait_seconds=5, lease_seconds=5, is_gone=self.is_gone
                )
            except Unavailable:
                return
            for each in lent:
                await self._perform(each)

    async def _perform(self, lent: Lent) -> None:
        fate = self.dice.random()
        if fate < 0.2:
            return  # it dies before the effect
        await asyncio.sleep(self.dice.choice((0.1, 1, 7, 20)))
        if lent.message.type == types.SEAL_REQUESTED:
            self.shelf.is_sealed |= not self.shelf.attempt
            event = _sealed(bool(self.shelf.attempt))
        elif fate < 0.4 and not lent.is_recovered:
            event = _failed("REFUSED")
        elif self.shelf.reserve(data_of(lent.message)["attempt"]):
            event = _completed()
        else:
            event = _failed("SEALED")
        if self.dice.random() < 0.25:
            return  # it dies after the effect
        for _ in range(self.dice.choice((1, 1, 2))):
            try:
                await self.desk.answer(SERVICE, lent.lease, event)
            except Refused as refused:
                raise AssertionError(refused.detail) from refused

    async def ask(self, attempts: int) -> None:
        """As an engine does: attempts with deadlines, copies of them, and a seal until it is answered."""
        for attempt in range(1, attempts + 1):
            request = _due(step_request(attempt=attempt), BEGAN + timedelta(seconds=_now() + 6))
            await self.transport.request(*[request] * self.dice.choice((1, 1, 2)))
            await asyncio.sleep(self.dice.choice((0.5, 3, 8)))
        while not self._replies(types.STEP_SEALED):
            await self.transport.request(seal_request())
            await asyncio.sleep(30)

    def _replies(self, reply_type: str) -> list[dict[str, Any]]:
        return [data_of(each) for each in self.transport.replies if each.type == reply_type]

    async def live(self) -> None:
        desk = asyncio.create_task(self.desk.run(self.stop))
        workers = [asyncio.create_task(self.work()) for _ in range(3)]
        async with asyncio.timeout(3600):
            await self.ask(self.dice.randint(1, 3))
        self.stop.set()
        await desk
        await asyncio.gather(*workers)

    def check(self) -> None:
        sealed = self._replies(types.STEP_SEALED)
        assert {each["performed"] for each in sealed} == {bool(self.shelf.attempt)}
        assert bool(self._replies(types.STEP_COMPLETED)) <= bool(self.shelf.attempt)
        for failed in self._replies(types.STEP_FAILED):
            code = failed["error"]["code"]
            assert code in ("EXPIRED", "LOST_CLAIM", "REFUSED", "SEALED")
            if code in ("EXPIRED", "REFUSED"):
                assert failed["attempt"] != self.shelf.attempt


def _now() -> float:
    return asyncio.get_running_loop().time()


def _due(request: Message, deadline: datetime) -> Message:
    data = request.data.replace(
        b'"deadline":"' + data_of(request)["deadline"].encode(),
        b'"deadline":"' + deadline.isoformat().encode(),
    )
    return Message(
        topic=request.topic,
        key=request.key,
        type=request.type,
        source=request.source,
        id=request.id,
        data=data,
        subject=request.subject,
        extensions=request.extensions,
    )


def _completed() -> dict[str, Any]:
    return {"type": types.STEP_COMPLETED, "data": {"output": {}}}


def _failed(code: str) -> dict[str, Any]:
    error = {"code": code, "message": "", "type": "INTERNAL", "retryable": True}
    return {"type": types.STEP_FAILED, "data": {"error": error}}


def _sealed(performed: bool) -> dict[str, Any]:
    return {"type": types.STEP_SEALED, "data": {"performed": performed, "output": {}}}


@pytest.mark.parametrize("block", range(10))
def test_no_promise_is_broken(block: int) -> None:
    """Each seal says what is true, and no success is invented (PROTOCOL rules 1 to 4)."""
    for seed in range(block * 30, block * 30 + 30):

        async def main(seed: int = seed) -> World:
            world = World(seed)
            await world.live()
            return world

        try:
            run(main()).check()
        except BaseException as error:
            error.add_note(f"seed {seed}")
            raise

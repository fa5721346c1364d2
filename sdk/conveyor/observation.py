"""What an observer of a worker is shown: requests that come and go, and runs of handlers."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Literal, Protocol

from conveyor.keys import KeyState
from conveyor.messages import Message, Record
from conveyor.requests import Request
from conveyor.transport import Taken, Transport

#: `failed` is certain: that run had no effect.
Outcome = Literal["performed", "failed", "unknown"]
Perform = Callable[[Request], Awaitable[None] | None]


class Observer(Protocol):
    """Called on the event loop, so it must not block."""

    def requests_taken(self, count: int) -> None:
        """So many requests are in flight from now on."""
        ...

    def requests_finished(self, count: int) -> None:
        """So many of them have their replies."""
        ...

    def handler_ran(self, service: str, operation: str, outcome: Outcome, seconds: float) -> None:
        """A handler ran; waiting for a free thread counts."""
        ...


def observed(perform: Perform, observer: Observer) -> Perform:
    """`perform`, and the observer sees each run of a handler."""

    def note(request: Request, started: float) -> None:
        # Without an operation no handler ran, and its name is the sender's.
        if request.operation is not None:
            body = request.body
            seconds = time.perf_counter() - started
            observer.handler_ran(body.service, body.operation, _outcome(request), seconds)

    async def note_after(request: Request, running: Awaitable[None], started: float) -> None:
        await running
        note(request, started)

    def observing(request: Request) -> Awaitable[None] | None:
        started = time.perf_counter()
        running = perform(request)
        if running is not None:
            return note_after(request, running, started)
        note(request, started)
        return None

    return observing


def _outcome(request: Request) -> Outcome:
    if request.records[request.key].state is KeyState.PERFORMED:
        return "performed"
    failure = request.failure
    is_unknown = request.withheld or (failure is not None and failure.outcome_unknown)
    return "unknown" if is_unknown else "failed"


class ObservedTransport:
    """A transport, and the observer sees what is in flight."""

    def __init__(self, transport: Transport, observer: Observer) -> None:
        self._transport = transport
        self._observer = observer

    async def start(self, participant: str, services: Sequence[str]) -> None:
        await self._transport.start(participant, services)

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        taken = await self._transport.take(limit, wait_seconds)
        self._observer.requests_taken(len(taken))
        return taken

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        await self._transport.finish(done, replies)
        self._observer.requests_finished(len(done))

    async def close(self) -> None:
        await self._transport.close()

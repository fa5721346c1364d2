"""A process of a participant: the SDK's runner, fed by the test, which may die at any moment."""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import replace
from datetime import datetime
from typing import NoReturn

from conveyor.errors import RetryableError, TerminalError
from conveyor.execution import run
from conveyor.handlers import Handler
from conveyor.keys import UNDO_SUFFIX, VERIFY_SUFFIX
from conveyor.messages import Message, Record
from conveyor.requests import Request
from conveyor.runner import ParticipantRunner
from conveyor.testing.activity import Activity
from conveyor.testing.calls import Call, Calls
from conveyor.testing.faults import Fault, Faults, Kind
from conveyor.testing.keys import ProcessKeys, Records
from conveyor.testing.served import Served
from conveyor.transport import Taken

#: The other process has performed the step by then.
_MEANWHILE_SECONDS = 0.5


def step_key_of(message: Message) -> str:
    """The key by which the runner queues the request: that of the step, or of one look of a verification."""
    key = message.extensions["idempotencykey"]
    if key.endswith(VERIFY_SUFFIX):
        return f"{key}/{message.extensions.get('attempt')}"
    return key.removesuffix(UNDO_SUFFIX)


class Process:
    """One life of a process; it is also its runner's transport."""

    def __init__(
        self,
        served: Served,
        records: Records,
        activity: Activity,
        faults: Faults,
        calls: Calls,
        now: Callable[[], datetime],
        replied: Callable[[Sequence[Message | Record]], None],
        die: Callable[[Process, float], None],
        elsewhere: Callable[[Message], None],
    ) -> None:
        """`die` ends it and starts another after that time; `elsewhere` sends a request to another process."""
        self._records = records
        self._activity = activity
        self._faults = faults
        self._calls = calls
        self._replied = replied
        self._die = die
        self._elsewhere = elsewhere
        self._keys = ProcessKeys(records)
        self._waiting: deque[Taken] = deque()
        self._bell = asyncio.Event()
        self._offsets = 0
        #: What was handed to it and is not finished, by offset.
        self.unfinished: dict[int, Message] = {}
        runner = ParticipantRunner(
            served,
            self,
            self._keys,
            instance=served.name,
            now=now,
            sleep=self._back_off,
            perform=self._perform,
        )
        self.task = asyncio.create_task(runner.run())
        self.task.add_done_callback(self._ended)

    def hand(self, message: Message) -> None:
        """Deliver a request."""
        self._activity.begin((self, step_key_of(message)))
        self.unfinished[self._offsets] = message
        self._waiting.append(Taken(message, 0, self._offsets))
        self._offsets += 1
        self._bell.set()

    def kill(self) -> Sequence[Message]:
        """End it where it stands; the requests that it leaves unfinished."""
        self.task.cancel()
        left, self.unfinished = list(self.unfinished.values()), {}
        for message in left:
            self._activity.end((self, step_key_of(message)))
        return left

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and (error := task.exception()) is not None:
            self._activity.fail(error)

    # -- the transport of its runner -------------------------------------------------------------

    async def start(self, participant: str, services: Sequence[str]) -> None:
        """There is no group to join."""

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:  # noqa: ARG002
        while not self._waiting:
            self._bell.clear()
            await self._bell.wait()
        return [self._waiting.popleft() for _ in range(min(limit, len(self._waiting)))]

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        self._replied(replies)
        for taken in done:
            message = self.unfinished.pop(taken.offset, None)
            if message is not None:
                self._activity.end((self, step_key_of(message)))

    async def close(self) -> None:
        """What is not finished is delivered again."""

    async def _back_off(self, seconds: float) -> None:
        """The runner waits for keys that another process holds."""
        steps = {key.removesuffix(UNDO_SUFFIX) for key in self._keys.take_refused()}
        await self._activity.sleep(seconds, *((self, step) for step in steps))

    # -- performing ------------------------------------------------------------------------------

    def _perform(self, request: Request) -> Awaitable[None] | None:
        fault = self._faults.in_the_handler(request.key)
        if fault is None or not _is_possible(fault, request):
            return self._run(request)
        body = request.body
        self._faults.strike(fault, self._activity.now, f"{body.service}.{body.operation}")
        match fault.kind:
            case Kind.REFUSED | Kind.BUSY:
                _let_fail(request, fault.kind)
                return run(request)
            case Kind.SLOW:
                return self._run_late(request, fault.seconds)
            case Kind.HOLD_LOST:
                for key in request.claims:
                    self._records.abandon(key)
                self._elsewhere(request.taken.message)
                return self._run_late(request, _MEANWHILE_SECONDS)
            case _:
                return self._die_at(request, fault)

    def _run(self, request: Request) -> Awaitable[None] | None:
        """Run the handler, and note that it was called."""
        call = self._calls.begin(request)
        running = run(request)
        if running is None:
            call.end(request)
            return None
        return self._run_on(request, call, running)

    async def _run_on(self, request: Request, call: Call, running: Awaitable[None]) -> None:
        await running
        call.end(request)

    async def _run_late(self, request: Request, seconds: float) -> None:
        await self._activity.sleep(seconds, (self, request.step_key))
        running = self._run(request)
        if running is not None:
            await running

    async def _die_at(self, request: Request, fault: Fault) -> NoReturn:
        if fault.kind is Kind.DIES_AFTER:
            running = self._run(request)
            if running is not None:
                await running
        self._die(self, fault.seconds)
        while True:
            # The end of its runner cancels this.
            await asyncio.Event().wait()


def _is_possible(fault: Fault, request: Request) -> bool:
    """Whether it keeps the promise of a failure: a refused step has no effect, in no attempt."""
    is_claimed = request.records[request.key].claimed > 0
    if fault.kind is Kind.REFUSED:
        return not is_claimed
    return request.repeats is None


def _let_fail(request: Request, kind: Kind) -> None:
    """Put a failure in the handler's place."""
    error = TerminalError if kind is Kind.REFUSED else RetryableError

    def fail() -> None:
        raise error("FAULT", "a fault of the test")

    if request.operation is not None:
        request.operation = replace(request.operation, handler=Handler(fail))

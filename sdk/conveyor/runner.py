"""The loop of a participant: take requests, decide each by its key, run handlers, reply.

A batch costs one `open` and one `save` of the key store and one `finish` of the transport, whatever
its size. Plain handlers run in line. Async ones run as tasks, and each gets its reply when it ends.
"""

from __future__ import annotations

import asyncio
import logging
import os
import socket
from collections import deque
from collections.abc import Awaitable, Callable, Coroutine, Iterable, Sequence
from datetime import UTC, datetime
from typing import Any, TypeVar
from urllib.parse import quote

from conveyor.cloudevents import encode
from conveyor.dead_letters import dead_letter
from conveyor.errors import ServerUnavailableError
from conveyor.execution import decide, run
from conveyor.key_store import KeyStore
from conveyor.keys import KeyRecord
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.participant import Participant
from conveyor.replies import reply_to
from conveyor.requests import Request, read_request
from conveyor.times import rfc3339
from conveyor.transport import Taken, Transport

log = logging.getLogger(__name__)
T = TypeVar("T")

_TAKE_WAIT_SECONDS = 0.25
_HEARTBEAT_SECONDS = 1.0
_HELD_ELSEWHERE_SECONDS = 0.2
_MAX_BACKOFF_SECONDS = 2.0


def _utc_now() -> datetime:
    return datetime.now(UTC)


class ParticipantRunner:
    """Runs one participant in this process; start as many processes as you like.

    `max_in_flight` limits the requests that are taken and have no reply yet. A stop waits `grace_seconds` for
    running handlers; requests that are not done by then are delivered again. `instance` names this process in
    replies. `now` and `sleep` are its clock. `perform` brings about the outcome of a request that is to be
    performed, as `run` does by calling its handler.
    """

    def __init__(
        self,
        participant: Participant,
        transport: Transport,
        key_store: KeyStore,
        *,
        instance: str | None = None,
        max_in_flight: int = 2000,
        batch_size: int = 500,
        grace_seconds: float = 30.0,
        now: Callable[[], datetime] = _utc_now,
        sleep: Callable[[float], Awaitable[None]] = asyncio.sleep,
        perform: Callable[[Request], Awaitable[None] | None] = run,
    ) -> None:
        self._participant = participant
        self._transport = transport
        self._keys = key_store
        self._instance = instance or f"{participant.name}-{socket.gethostname()}-{os.getpid()}"
        self._source = f"/participants/{quote(participant.name)}"
        self._max_in_flight = max_in_flight
        self._batch_size = batch_size
        self._grace_seconds = grace_seconds
        self._now = now
        self._sleep = sleep
        self._perform = perform
        self._stopping = asyncio.Event()
        #: Something was decided, or the runner was stopped.
        self._progress = asyncio.Event()
        self._room = asyncio.Event()
        self._in_flight = 0
        self._decided: list[Request] = []
        self._refused: list[tuple[Taken, Record]] = []
        #: step key -> the requests that wait for the one that is being handled
        self._queues: dict[str, deque[Request]] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    async def run(self) -> None:
        """Work until `stop`. Returns when running handlers have their replies, or after the grace."""
        try:
            await self._persist(self._start)
            async with asyncio.TaskGroup() as group:
                self._group = group
                loops = {
                    group.create_task(self._take_until_stopped()),
                    group.create_task(self._answer_until_stopped()),
                }
                await self._stopping.wait()
                _, unfinished = await asyncio.wait(loops, timeout=self._grace_seconds)
                for task in (*unfinished, *self._tasks):
                    task.cancel()
        finally:
            try:
                await self._transport.close()
            finally:
                await self._keys.close()

    async def run_until(self, stop: asyncio.Event) -> None:
        """Like `run`; setting the event stops it."""
        running = asyncio.create_task(self.run())
        stopped = asyncio.create_task(stop.wait())
        try:
            await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
            self.stop()
            await running
        finally:
            stopped.cancel()
            if not running.done():
                running.cancel()
                await asyncio.wait({running})

    def stop(self) -> None:
        """Take no more requests; `run` returns soon after."""
        self._stopping.set()
        self._progress.set()

    async def _start(self) -> None:
        # A stop ends the tries; there is nothing to finish yet.
        if not self._stopping.is_set():
            await self._transport.start(self._participant.name, self._participant.services)

    # -- taking --------------------------------------------------------------------------------

    async def _take_until_stopped(self) -> None:
        while not self._stopping.is_set():
            taken = await self._take()
            # What was taken when the stop came stays unfinished, so it is delivered again.
            if self._stopping.is_set():
                return
            if ready := self._admit(taken):
                await self._begin(ready)

    async def _take(self) -> Sequence[Taken]:
        room = self._max_in_flight - self._in_flight
        if room <= 0:
            self._room.clear()
            try:
                async with asyncio.timeout(_HEARTBEAT_SECONDS):
                    await self._room.wait()
            except TimeoutError:
                log.debug("%d requests in flight, none taken", self._in_flight)
        limit = max(0, min(self._batch_size, self._max_in_flight - self._in_flight))
        wait_seconds = _TAKE_WAIT_SECONDS if limit else 0.0
        try:
            return await self._transport.take(limit, wait_seconds)
        except ServerUnavailableError as error:
            log.warning("Cannot take requests, trying again: %s", error)
            await self._sleep(_TAKE_WAIT_SECONDS)
            return ()

    def _admit(self, taken: Iterable[Taken]) -> list[Request]:
        """Read the messages: return those that may begin, queue those whose step is busy."""
        ready: list[Request] = []
        for each in taken:
            self._in_flight += 1
            try:
                request = read_request(each, self._participant)
            except MalformedEvent as error:
                self._refuse(each, error)
                continue
            waiting = self._queues.get(request.step_key)
            if waiting is None:
                self._queues[request.step_key] = deque()
                ready.append(request)
            else:
                waiting.append(request)
        return ready

    def _refuse(self, taken: Taken, error: MalformedEvent) -> None:
        log.warning("Refused a request: %s (%s)", error.detail, error.code)
        letter = dead_letter(
            encode(taken.message),
            reason=error.code,
            detail=error.detail,
            partition=taken.partition,
            offset=taken.offset,
            time=rfc3339(self._now()),
        )
        self._refused.append((taken, letter))
        self._progress.set()

    # -- handling ------------------------------------------------------------------------------

    async def _begin(self, requests: Sequence[Request]) -> None:
        """Open the keys of requests of different steps, then decide each and run its handler."""
        claims: dict[str, int] = {}
        for request in requests:
            claims.update(request.claims)
        opened = await self._persist(lambda: self._keys.open(claims))
        now = self._now()
        busy: list[Request] = []
        for request in requests:
            request.failure, request.withheld = None, False
            request.records = {key: opened[key] for key in request.claims if key in opened}
            if len(request.records) < len(request.claims):
                busy.append(request)
            elif decide(request, now) and (running := self._perform(request)) is not None:
                self._spawn(self._until_decided(request, running))
            else:
                self._decided.append(request)
        if busy:
            await self._release(busy)
            self._spawn(self._begin_later(busy))
        self._progress.set()

    async def _until_decided(self, request: Request, running: Awaitable[None]) -> None:
        await running
        self._decided.append(request)
        self._progress.set()

    async def _release(self, requests: Iterable[Request]) -> None:
        held = {key: record for each in requests for key, record in each.records.items()}
        if held:
            await self._persist(lambda: self._keys.save(held))

    async def _begin_later(self, requests: Sequence[Request]) -> None:
        """Another process holds their keys: it replies, or it dies and its hold expires."""
        await self._sleep(_HELD_ELSEWHERE_SECONDS)
        await self._begin(requests)

    # -- answering -----------------------------------------------------------------------------

    async def _answer_until_stopped(self) -> None:
        """Save, reply and finish what is decided; ends when stopped and nothing is in flight."""
        while self._in_flight or not self._stopping.is_set():
            await self._progress.wait()
            self._progress.clear()
            refused, self._refused = self._refused, []
            decided, self._decided = self._decided, []
            if refused:
                await self._finish([t for t, _ in refused], [letter for _, letter in refused])
            if decided:
                await self._answer(decided)

    async def _answer(self, requests: Sequence[Request]) -> None:
        records: dict[str, KeyRecord] = {}
        for request in requests:
            records.update(request.records)
        lost = await self._persist(lambda: self._keys.save(records))
        if lost:
            # The process that took the key over replies; if a save only seemed to fail, the store has it.
            again = [request for request in requests if not lost.isdisjoint(request.records)]
            requests = [request for request in requests if lost.isdisjoint(request.records)]
            self._spawn(self._begin_later(again))
        now = rfc3339(self._now())
        await self._finish(
            [request.taken for request in requests],
            [
                reply_to(request, self._source, self._instance, now)
                for request in requests
                if not request.withheld
            ],
        )
        if following := self._following(requests):
            self._spawn(self._begin(following))

    async def _finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        await self._persist(lambda: self._transport.finish(done, replies))
        self._in_flight -= len(done)
        self._room.set()

    def _following(self, answered: Iterable[Request]) -> list[Request]:
        """The next request of each step that is free now."""
        following: list[Request] = []
        for request in answered:
            waiting = self._queues[request.step_key]
            if waiting:
                following.append(waiting.popleft())
            else:
                del self._queues[request.step_key]
        return following

    async def _persist(self, call: Callable[[], Awaitable[T]]) -> T:
        """Call until the server responds."""
        backoff = 0.05
        while True:
            try:
                return await call()
            except ServerUnavailableError as error:
                log.warning("Trying again: %s", error)
                await self._sleep(backoff)
                backoff = min(backoff * 2, _MAX_BACKOFF_SECONDS)

    def _spawn(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._group.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

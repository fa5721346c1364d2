"""The desk where workers take requests: one runner per service, as long as somebody takes from it."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import Any

import structlog
from conveyor.errors import ServerUnavailableError
from conveyor.handlers import Handler
from conveyor.key_store import KeyStore
from conveyor.keys import KeyRecord
from conveyor.messages import Message, Record
from conveyor.participant import Operation, Participant
from conveyor.replies import reply_to
from conveyor.requests import Request
from conveyor.runner import ParticipantRunner
from conveyor.times import rfc3339
from conveyor.transport import Taken, Transport
from conveyor.values import replace as changed

from application.ports import Clock, Unavailable
from application.use_cases.refusal import Refused
from application.workers import answers
from application.workers.answers import Answer
from application.workers.leases import Leases, Lent

log = structlog.get_logger("WorkerDesk")

#: A service that nobody takes from for so long is left again.
IDLE_SECONDS = 60.0
_LOOK_SECONDS = 1.0
_GRACE_SECONDS = 1.0
#: How long a worker that does not wait for requests waits until they can be read at all.
_START_SECONDS = 1.0
UNKNOWN_SERVICE = "UNKNOWN_SERVICE"
LEASE_LOST = "LEASE_LOST"


@dataclass(frozen=True, slots=True)
class ServicePorts:
    """The requests of one service, and the records of its idempotency keys."""

    transport: Transport
    key_store: KeyStore


class WorkerDesk:
    """Lends the requests of services to workers (CONTRACT 7).

    `connect` opens the ports of a service, `services` are those that definitions name.
    """

    def __init__(
        self,
        connect: Callable[[str], ServicePorts],
        services: Callable[[], Awaitable[Collection[str]]],
        clock: Clock,
        instance: str,
    ) -> None:
        self._connect = connect
        self._services = services
        self._clock = clock
        self._instance = instance
        self._served: dict[str, _Service] = {}
        self._is_closed = False

    async def run(self, stop: asyncio.Event) -> None:
        """Leave the services that nobody takes from, and all of them at the end."""
        try:
            while not stop.is_set():
                idle = [name for name, each in self._served.items() if each.is_idle]
                for name in idle:
                    await self._served.pop(name).close()
                try:
                    await asyncio.wait_for(stop.wait(), _LOOK_SECONDS)
                except TimeoutError:
                    continue
        finally:
            self._is_closed = True
            served, self._served = self._served, {}
            await asyncio.gather(*(each.close() for each in served.values()))

    async def take(
        self,
        service: str,
        limit: int,
        *,
        wait_seconds: float,
        lease_seconds: float,
        is_gone: Callable[[], Awaitable[bool]],
    ) -> Sequence[Lent]:
        """At most `limit` requests, waiting for the first one. `is_gone`: the worker has hung up.

        Raises Refused (UNKNOWN_SERVICE), Unavailable.
        """
        served = await self._serve(service)
        leases = served.leases
        loop = asyncio.get_running_loop()
        until = loop.time() + wait_seconds
        await served.until_started(max(wait_seconds, _START_SECONDS))
        while await leases.until_free(until - loop.time()):
            # Else nobody would have its requests until their leases end.
            if await is_gone():
                break
            if lent := leases.lend(limit, lease_seconds):
                return lent
        return []

    async def answer(self, service: str, lease: str, event: Mapping[str, Any]) -> bool:
        """Whether the lease still ran; when this returns, the answer is durable. Raises Refused, Unavailable."""
        served = self._served.get(service)
        return served is not None and await served.leases.answer(lease, event)

    def extend(
        self, service: str, leases: Sequence[str], lease_seconds: float
    ) -> tuple[Sequence[str], Sequence[str]]:
        """The leases that end so many seconds from now, and those that are lost."""
        served = self._served.get(service)
        if served is None:
            return [], leases
        served.use()
        return served.leases.extend(leases, lease_seconds)

    async def _serve(self, service: str) -> _Service:
        served = self._served.get(service)
        if served is None or served.has_ended:
            if service not in await self._services():
                raise Refused(
                    UNKNOWN_SERVICE,
                    f"no definition names a service '{service[:100]}'; register one first, or correct the name",
                )
            if self._is_closed:
                raise Unavailable("workers", "the service is being stopped")
            served = self._served.get(service)
            if served is None or served.has_ended:
                served = _Service(service, self._connect(service), self._clock, self._instance)
                self._served[service] = served
        served.use()
        return served


class _AnyOperation(Participant):
    """Every operation of one service; workers perform them."""

    def __init__(self, service: str) -> None:
        super().__init__(service)
        self._operation = Operation(Handler(_by_a_worker), "run")

    @property
    def services(self) -> tuple[str, ...]:
        return (self.name,)

    def find_step(self, service: str, operation: str) -> Operation | None:
        del service, operation
        return self._operation

    def find_compensation(self, service: str, operation: str) -> Operation | None:
        del service, operation
        return self._operation


def _by_a_worker(_data: Mapping[str, Any]) -> None:
    raise AssertionError("a worker performs it")


class _Service:
    """One service while workers take from it."""

    def __init__(self, name: str, ports: ServicePorts, clock: Clock, instance: str) -> None:
        self._name = name
        self._clock = clock
        self._instance = instance
        self._transport = ports.transport
        self.leases = Leases(clock.now, self._reply_late)
        self._used_at = clock.monotonic()
        reporting = _Reporting(ports.transport, self.leases)
        self._started = reporting.started
        self._runner = ParticipantRunner(
            _AnyOperation(name),
            reporting,
            ports.key_store,
            instance=instance,
            grace_seconds=_GRACE_SECONDS,
            now=clock.now,
            perform=self.leases.perform,
        )
        self._task = asyncio.create_task(self._run())

    def use(self) -> None:
        """Somebody takes from it."""
        self._used_at = self._clock.monotonic()

    async def until_started(self, seconds: float) -> None:
        """Until its requests are read, at most so long."""
        if not self._started.is_set():
            starting = asyncio.create_task(self._started.wait())
            await asyncio.wait({starting}, timeout=seconds)
            starting.cancel()

    @property
    def has_ended(self) -> bool:
        return self._task.done()

    @property
    def is_idle(self) -> bool:
        is_unused = self._clock.monotonic() - self._used_at > IDLE_SECONDS
        return self.has_ended or (is_unused and self.leases.is_idle)

    async def close(self) -> None:
        """Requests without an answer are delivered again."""
        self._runner.stop()
        await asyncio.wait({self._task})

    async def _run(self) -> None:
        log.info("workers take from a service", service=self._name)
        try:
            await self._runner.run()
        except Exception:
            log.exception(
                "a service cannot be served; the next worker begins again", service=self._name
            )
        finally:
            self.leases.close()

    async def _reply_late(self, request: Request, answer: Answer, unusable: str | None) -> None:
        """As a participant's reply comes late over Kafka. The engine takes a success of any attempt (rule 4)."""
        late = replace(
            request, records={request.key: KeyRecord()}, failure=None, repeats=None, withheld=False
        )
        answers.settle(late, answer, unusable)
        source = f"/participants/{self._name}"
        reply = reply_to(late, source, self._instance, rfc3339(self._clock.now()))
        try:
            # Its first reply, that the outcome is unknown, has the plain id.
            await self._transport.finish((), [changed(reply, id=f"{reply.id}/late")])
        except ServerUnavailableError as error:
            raise Unavailable(error.component, error.detail) from error


class _Reporting:
    """The service's transport, which reports to the leases what is durable."""

    def __init__(self, transport: Transport, leases: Leases) -> None:
        self._transport = transport
        self._leases = leases
        self.started = asyncio.Event()
        self.take = transport.take
        self.close = transport.close

    async def start(self, participant: str, services: Sequence[str]) -> None:
        await self._transport.start(participant, services)
        self.started.set()

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        await self._transport.finish(done, replies)
        self._leases.finished(done)

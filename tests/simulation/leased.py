"""A participant over HTTP: desks of the service lend its requests to workers, for a limited time.

Desks and workers are the product's own, from the desk's runner to the worker's transport. Between them is a network
that loses calls before and after they took effect, and lets some come late. The effects are elsewhere, idempotent by
key, as a worker's have to be.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Collection, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any, cast

import orjson
from conveyor import types
from conveyor.cloudevents import structured
from conveyor.errors import ServerUnavailableError
from conveyor.http_transport import HttpTransport
from conveyor.keys import KeyRecord, KeyState
from conveyor.messages import Message

from application.ports import Unavailable
from application.use_cases.refusal import Refused
from application.workers.desk import ServicePorts, WorkerDesk
from application.workers.leases import Lent
from tests.simulation.chances import Kind
from tests.simulation.clock import SimulatedClock
from tests.simulation.faults import Network, Process
from tests.simulation.participants import BANK, KeyRecords
from tests.simulation.watch import Watch

SERVICES = tuple(BANK)
#: Short, so that leases are lost within the run; a worker extends them three times as often.
LEASE_SECONDS = 2
_CALLS_FAIL = (Kind.CALL_LOST, Kind.ANSWER_LOST, Kind.CALL_LATE)
#: A worker that cannot reach its desk asks another one, as behind a load balancer.
_AWAY = "the desk is away"
#: What happens in one moment may be noted a little later.
_AT_ONCE = 0.01


@dataclass(slots=True, eq=False)
class _Lease:
    key: str
    until: float


class LeaseWatch:
    """What must hold of the leases of one desk, and of all that was lent."""

    def __init__(self, watch: Watch, shared: KeyRecords) -> None:
        self._watch = watch
        self._shared = shared
        #: Key -> the last attempt that some worker has had, under a hold that was not lost by then.
        self._lent: dict[str, int] = {}

    def lends(self, desk: Desk, lent: Lent) -> None:
        """This request goes to a worker, now."""
        watch, message, now = self._watch, lent.message, _now()
        key = _key(message)
        data = orjson.loads(message.data)
        watch.checks += 3
        if any(other.key == key and other.until > now for other in desk.leases.values()):
            watch.wrong(f"{key} is lent to two workers at once")
        desk.leases[lent.lease] = _Lease(key, now + LEASE_SECONDS)
        if message.type == types.SEAL_REQUESTED:
            return
        hold = self._shared.holds.get(key)
        # What is done under a hold that is lost does not count, as everywhere.
        if hold is not None and hold.process is desk.process:
            if self._is_open(key) and not lent.is_recovered:
                watch.wrong(f"{key} is lent again, and its worker is not warned")
            self._lent[key] = data["attempt"]
        if not self._is_claimed(key, data["attempt"]):
            watch.wrong(f"{key} is lent and not claimed")

    def _is_open(self, key: str) -> bool:
        """A worker had it, and its record does not say what came of that."""
        return key not in self._shared.cleared and self._shared.record(
            key
        ).attempt < self._lent.get(key, 0)

    def _is_claimed(self, key: str, attempt: int) -> bool:
        """The claim is durable, whoever has the key by now."""
        record, hold = self._shared.record(key), self._shared.holds.get(key)
        if hold is not None and hold.attempt >= attempt:
            return True
        return record.claimed >= attempt or record.attempt >= attempt or _is_certain(record)

    def answered(self, desk: Desk, lease: str) -> _Lease | None:
        """A worker answers; the lease ends with that. None: it was not of this desk."""
        held = desk.leases.pop(lease, None)
        return held if held is None or held.until > _now() - _AT_ONCE else None

    def accepts(self, held: _Lease | None, event: Mapping[str, Any]) -> None:
        """The desk says that the lease still ran, and that its answer is durable."""
        self._watch.checks += 2
        if held is None:
            self._watch.wrong(f"{_key_of(event)} is answered under a lease that had ended")
            return
        is_done = event["type"] == types.STEP_COMPLETED
        if is_done and self._shared.record(held.key).state is not KeyState.PERFORMED:
            self._watch.wrong(f"{held.key} was done, and its record does not say so")

    def extended(self, desk: Desk, leases: Sequence[str]) -> None:
        for lease in leases:
            held = desk.leases[lease]
            self._watch.checks += 1
            if held.until < _now() - _AT_ONCE:
                self._watch.wrong(f"a lease of {held.key} runs again, though it had ended")
            held.until = _now() + LEASE_SECONDS


def _is_certain(record: KeyRecord) -> bool:
    return record.state in (KeyState.PERFORMED, KeyState.SEALED)


@dataclass(slots=True, eq=False)
class Desk:
    """One process of the service with the role `workers`."""

    process: Process
    clock: SimulatedClock
    desk: WorkerDesk
    gone: asyncio.Event = field(default_factory=asyncio.Event)
    #: Leases that it has lent and that were not answered.
    leases: dict[str, _Lease] = field(default_factory=dict[str, _Lease])

    def die(self) -> None:
        """With what it does for each service, which the desk would finish in order."""
        self.gone.set()
        for served in self.desk._served.values():
            served._task.cancel()

    async def serve(self, call: Callable[[WorkerDesk], Awaitable[Mapping[str, Any]]]) -> bytes:
        """What it responds. Raises Unavailable, also when it dies over it."""
        serving = asyncio.ensure_future(self._serve(call))
        ending = asyncio.create_task(self.gone.wait())
        await asyncio.wait({serving, ending}, return_when=asyncio.FIRST_COMPLETED)
        ending.cancel()
        if self.gone.is_set():
            serving.cancel()
            raise Unavailable("desk", _AWAY)
        return await serving

    async def _serve(self, call: Callable[[WorkerDesk], Awaitable[Mapping[str, Any]]]) -> bytes:
        await self.process.checkpoint()
        response = await call(self.desk)
        await self.process.checkpoint()
        return orjson.dumps(response)


class Desks:
    """All that are there, as a worker finds them at one address."""

    def __init__(self, network: Network, leases: LeaseWatch) -> None:
        self.network = network
        self.leases = leases
        self.open: list[Desk] = []
        self.dice = network.chances.stream("desks")

    def make(
        self, process: Process, clock: SimulatedClock, connect: Callable[[str], ServicePorts]
    ) -> Desk:
        return Desk(process, clock, WorkerDesk(connect, _services, clock, process.name))

    def close(self, process: Process) -> None:
        """The process has died, if it is one of a desk."""
        for desk in [each for each in self.open if each.process is process]:
            self.open.remove(desk)
            desk.die()

    @property
    def on_offer(self) -> set[str]:
        """Keys of the requests that wait for a worker's answer, even if another process holds them by now."""
        return {
            offer.request.key
            for desk in self.open
            for served in desk.desk._served.values()
            for offer in served.leases._offers.values()
        }

    def some(self) -> Desk:
        """Raises ServerUnavailableError."""
        if not self.open:
            raise ServerUnavailableError("desk", _AWAY)
        return self.dice.choice(self.open)


async def _services() -> Collection[str]:
    return SERVICES


class LeasedTransport(HttpTransport):
    """The worker's transport, whose calls go over the simulated network."""

    def __init__(self, desks: Desks, process: Process) -> None:
        # What stands for the client is never called.
        super().__init__(
            "http://desk",
            worker_id=process.name,
            lease_seconds=LEASE_SECONDS,
            client=cast("Any", _Unused()),
        )
        self._desks = desks
        self._process = process
        self._desk: Desk | None = None

    async def _post(self, path: str, body: bytes) -> dict[str, Any]:
        network, process = self._desks.network, self._process
        weather, chances = network.weather, network.chances
        _, service, act = path.removesuffix("/").rsplit("/", 2)
        await process.checkpoint()
        desk = self._reached(act)
        fate = chances.one_of(_CALLS_FAIL, weather.failing, "calls of workers")
        if act == "extend" and chances.strikes(Kind.LEASE_RUNS_OUT, weather.cutting_off):
            fate = Kind.CALL_LOST
        delay = network.latency()
        call = _Call(self._desks, desk, process, service, act, orjson.loads(body))
        if fate is Kind.CALL_LATE and act != "take":
            network.later(delay + self._desks.dice.uniform(0.0, 4.0), call.land)
        await asyncio.sleep(delay)
        if fate is Kind.CALL_LOST or fate is Kind.CALL_LATE:
            await process.checkpoint()
            raise self._away(desk)
        try:
            response = await call.made()
        except Unavailable as error:
            self._desk = None
            raise self._away(desk) from error
        await asyncio.sleep(network.latency())
        await process.checkpoint()
        if fate is not None:
            raise self._away(desk)
        return orjson.loads(response)

    def _reached(self, act: str) -> Desk:
        """It stays with a desk as long as that has its leases."""
        desk = self._desk
        if desk is None or desk.gone.is_set() or (act == "take" and not self._lent):
            desk = self._desk = self._desks.some()
        return desk

    def _away(self, desk: Desk) -> ServerUnavailableError:
        return ServerUnavailableError("desk", f"{desk.process.name} did not answer")


class _Unused:
    async def aclose(self) -> None:
        """There is no connection."""


@dataclass(slots=True)
class _Call:
    """One call of a worker, as the desk carries it out whatever becomes of the worker."""

    desks: Desks
    desk: Desk
    worker: Process
    service: str
    act: str
    body: Mapping[str, Any]

    def land(self) -> None:
        """Later; nobody waits for the response."""
        task = asyncio.ensure_future(self.made())
        task.add_done_callback(_forget)

    async def made(self) -> bytes:
        carried_out = {"take": self._take, "answer": self._answer, "extend": self._extend}
        return await self.desk.serve(carried_out[self.act])

    async def _take(self, desk: WorkerDesk) -> Mapping[str, Any]:
        body = self.body
        lent = await desk.take(
            self.service,
            body["max"],
            wait_seconds=body["waitSeconds"],
            lease_seconds=body["leaseSeconds"],
            is_gone=self._is_gone,
        )
        for each in lent:
            self._note(f"lends {_key(each.message)} to {self.worker.name}")
            self.desks.leases.lends(self.desk, each)
        return {"requests": [_document(each) for each in lent]}

    def _note(self, what: str) -> None:
        self.desks.network.trace.note(self.desk.process.name, what)

    async def _is_gone(self) -> bool:
        return self.worker.is_dead

    async def _answer(self, desk: WorkerDesk) -> Mapping[str, Any]:
        results = [self._result(desk, each) for each in self.body["answers"]]
        return {"results": await asyncio.gather(*results)}

    async def _result(self, desk: WorkerDesk, answer: Mapping[str, Any]) -> Mapping[str, Any]:
        lease, event = answer["lease"], answer["event"]
        held = self.desks.leases.answered(self.desk, lease)
        try:
            is_accepted = await desk.answer(self.service, lease, event)
        except Refused as refused:
            self.desks.leases._watch.wrong(f"an answer of a worker is refused: {refused.detail}")
            return {"lease": lease, "accepted": False, "detail": refused.detail}
        kind = event["type"].rpartition(".")[2]
        late = "" if is_accepted else " late"
        self._note(f"got{late} {kind} of {_key_of(event)} by {self.worker.name}")
        if is_accepted:
            self.desks.leases.accepts(held, event)
        return {"lease": lease, "accepted": is_accepted, "detail": "the lease has ended"}

    async def _extend(self, desk: WorkerDesk) -> Mapping[str, Any]:
        leases, seconds = self.body["leases"], self.body["leaseSeconds"]
        extended, lost = desk.extend(self.service, leases, seconds)
        self.desks.leases.extended(self.desk, extended)
        return {"extended": list(extended), "lost": list(lost)}


def _key(message: Message) -> str:
    return message.extensions["idempotencykey"]


def _key_of(event: Mapping[str, Any]) -> str:
    return event["idempotencykey"]


def _forget(task: asyncio.Task[bytes]) -> None:
    """A response that nobody reads, and the fault of a desk that is away."""
    if not task.cancelled() and not isinstance(task.exception(), Unavailable | None):
        raise task.exception() or SystemError


def _document(lent: Lent) -> Mapping[str, Any]:
    """As the route says it."""
    document: dict[str, Any] = {
        "lease": lent.lease,
        "event": structured(lent.message),
        "recovered": lent.is_recovered,
    }
    if lent.asks_about is not None:
        document["asksAbout"] = orjson.Fragment(lent.asks_about)
    return document


def _now() -> float:
    return asyncio.get_running_loop().time()

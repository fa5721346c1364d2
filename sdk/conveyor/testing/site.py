"""The participants' side of a run: who serves which service, in which processes."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Coroutine, Iterable, Sequence
from dataclasses import dataclass, field
from typing import Any

import orjson

from conveyor import types
from conveyor.keys import VERIFY_SUFFIX
from conveyor.messages import Message, Record
from conveyor.participant import Participant
from conveyor.testing.activity import Activity
from conveyor.testing.calls import Calls
from conveyor.testing.errors import KitError, Unserved
from conveyor.testing.faults import Fault, Faults, Kind
from conveyor.testing.keys import Records
from conveyor.testing.process import Process
from conveyor.testing.served import Served
from conveyor.testing.services import Asked, AskedKind, Service, Uses
from conveyor.testing.world import World


@dataclass(slots=True)
class _Group:
    """The processes of a participant."""

    served: Served
    records: Records = field(default_factory=Records)
    #: The first one is sent the requests; another is there only if that lost a hold.
    processes: list[Process] = field(default_factory=list[Process])
    #: Requests that came while no process runs.
    waiting: list[Message] = field(default_factory=list[Message])


class Site:
    """Runs participants in this process, on the world's clock."""

    def __init__(
        self,
        world: World,
        participants: Iterable[Participant],
        service: Callable[[str], Service],
        faults: Faults,
        asked: Callable[[str, Asked], None],
        raised: Callable[[BaseException], None],
    ) -> None:
        """`service` finds the stubs of a service; `asked` and `raised` note requests, and bugs of handlers."""
        self.activity = Activity()
        self.calls = Calls()
        self._world = world
        self._service = service
        self._faults = faults
        self._asked = asked
        self._raised = raised
        self._uses = Uses()
        self._groups: dict[str, _Group] = {}
        for each in participants:
            group = self._group(each.name, each.services, each)
            self._groups.update(dict.fromkeys(each.services, group))
        self._replies: list[Message] = []
        #: Id of a request -> its place, so that replies have an order of their own.
        self._order: dict[str, int] = {}
        self._tasks: set[asyncio.Task[None]] = set()

    def deliver(self, messages: Sequence[Message]) -> None:
        """Send requests to their participants. Raises Unserved."""
        for message in messages:
            self._order.setdefault(message.id, len(self._order))
            group = self._serving(message)
            fault = self._faults.on_the_way(message.extensions["idempotencykey"])
            if fault is None:
                self._hand(group, message)
                continue
            data = orjson.loads(message.data)
            operation = f"{data['service']}.{data['operation']}"
            self._faults.strike(fault, self.activity.now, operation)
            if fault.kind is Kind.DUPLICATE:
                self._hand(group, message)
            self._do(fault, self._hand_later(group, message, fault))

    def take_replies(self) -> Sequence[Message]:
        """What the participants replied, in the order of the requests."""
        replies, self._replies = self._replies, []
        return sorted(replies, key=lambda reply: self._order[reply.extensions["causationid"]])

    async def close(self) -> None:
        """End all processes."""
        running = {p.task for group in self._groups.values() for p in group.processes} | self._tasks
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)

    # -- who serves what -------------------------------------------------------------------------

    def _serving(self, message: Message) -> _Group:
        """Who is to be sent the request. Raises Unserved."""
        data: dict[str, Any] = orjson.loads(message.data)
        asked = _asked(message, data)
        service, operation = data["service"], data["operation"]
        self._asked(service, asked)
        group = self._groups.get(service)
        if group is None:
            group = self._groups[service] = self._group(service, (service,), None)
        is_undo = asked.kind == "undo"
        find = group.served.find_compensation if is_undo else group.served.find_step
        if asked.kind != "seal" and find(service, operation) is None:
            raise Unserved(_sentence(asked, service, group.served))
        return group

    def _group(self, name: str, services: Iterable[str], participant: Participant | None) -> _Group:
        async def sleep(seconds: float, step_key: str) -> None:
            await self.activity.sleep(seconds, *((each, step_key) for each in group.processes))

        served = Served(
            name,
            [self._service(each) for each in services],
            participant,
            take=lambda service, operation: self._uses.take(service.rules, operation),
            sleep=sleep,
            raised=self._raised,
        )
        group = _Group(served)
        group.processes.append(self._process(group))
        return group

    # -- processes -------------------------------------------------------------------------------

    def _process(self, group: _Group) -> Process:
        return Process(
            group.served,
            group.records,
            self.activity,
            self._faults,
            self.calls,
            now=lambda: self._world.time,
            replied=self._replied,
            die=lambda process, seconds: self._die(group, process, seconds),
            elsewhere=lambda message: self._elsewhere(group, message),
        )

    def _hand(self, group: _Group, message: Message) -> None:
        if group.processes:
            group.processes[0].hand(message)
        else:
            group.waiting.append(message)

    async def _hand_later(self, group: _Group, message: Message, fault: Fault) -> None:
        await self.activity.sleep(fault.seconds, fault)
        self._hand(group, message)

    def _die(self, group: _Group, process: Process, seconds: float) -> None:
        """Its memory is gone; what it has not finished is delivered to the next one."""
        if process not in group.processes:
            return  # Another fault killed it at the same moment.
        left = process.kill()
        group.processes.remove(process)
        if group.processes:
            for message in left:
                self._hand(group, message)
        else:
            group.waiting.extend(left)
            self._do(process, self._restart(group, process, seconds))

    async def _restart(self, group: _Group, process: Process, seconds: float) -> None:
        await asyncio.wait({process.task})
        await self.activity.sleep(seconds, process)
        group.processes.insert(0, self._process(group))
        waiting, group.waiting = group.waiting, []
        for message in waiting:
            self._hand(group, message)

    def _elsewhere(self, group: _Group, message: Message) -> None:
        if len(group.processes) == 1:
            group.processes.append(self._process(group))
        group.processes[1].hand(message)

    def _replied(self, replies: Sequence[Message | Record]) -> None:
        for reply in replies:
            if isinstance(reply, Message):
                self._replies.append(reply)
            else:
                self.activity.fail(KitError(f"a participant cannot read a request: {reply}"))

    def _do(self, work: object, coroutine: Coroutine[Any, Any, None]) -> None:
        """Let it count as work until it has ended."""

        async def count() -> None:
            try:
                await coroutine
            finally:
                self.activity.end(work)

        self.activity.begin(work)
        task = asyncio.create_task(count())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)


def _asked(message: Message, data: dict[str, Any]) -> Asked:
    key = message.extensions["idempotencykey"]
    kinds: dict[str, AskedKind] = {
        types.COMPENSATION_REQUESTED: "undo",
        types.SEAL_REQUESTED: "seal",
    }
    kind = "verify" if key.endswith(VERIFY_SUFFIX) else kinds.get(message.type, "perform")
    return Asked(
        kind=kind,
        operation=data["operation"],
        input=data.get("input", {}),
        key=key,
        attempt=data.get("attempt", 0),
        workflow_id=data["workflowId"],
        step_id=data["stepId"],
    )


def _sentence(asked: Asked, service: str, served: Served) -> str:
    purpose = {"undo": "the undo of step", "verify": "the verified undo of step"}
    step = f"{purpose.get(asked.kind, 'step')} {asked.step_id} of {asked.workflow_id}"
    needs = f"{step} needs {service}.{asked.operation}"
    stub = f"c.service({service!r}).answers({asked.operation!r}, {{...}})"
    if served.operations:
        has = ", ".join(served.operations)
        return f"{needs}, which {served.name} does not have (it has {has}); register a handler, or add {stub}"
    return f"{needs}, and nothing serves it: pass its participant to Conveyor(...), or add {stub}"

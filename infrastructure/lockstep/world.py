"""One engine, its stores and its time."""

from __future__ import annotations

import random
from collections.abc import Coroutine, Mapping, Sequence
from datetime import datetime, timedelta
from typing import Any, TypeVar

import orjson
from conveyor import topics
from conveyor.cloudevents import structured, unstructured
from conveyor.messages import Message, Record

from adapters.memory.broker import MemoryBroker
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.feed import MemoryEventFeed
from adapters.memory.inbox import MemoryInbox
from adapters.memory.projections import MemoryProjections
from adapters.memory.publisher import MemoryPublisher
from adapters.memory.queries import MemoryWorkflowQueries
from adapters.memory.virtual_time import VirtualClock, VirtualLoop, drive
from adapters.partitioner import partition_for
from application.access import LOCAL_ACTOR, Caller, Role
from application.aggregates.catalog import CATALOG
from application.definitions import DefinitionRegistry
from application.engine.environment import Ports, ProcessorSettings
from application.engine.processor import Processor
from application.gateway import CommandGateway
from application.ports import Document, InboxLayout, InboxStart, RecordedEvent
from application.queries import WorkflowReader
from application.use_cases.control import ControlWorkflow
from application.use_cases.start import StartWorkflow
from domain.aggregate.kind import State
from domain.workflow.instance import WorkflowInstance

T = TypeVar("T")

_CALLER = Caller(actor=LOCAL_ACTOR, roles=frozenset(Role))
_SECRET = b"lockstep"
#: Nothing is projected and every timer stays in memory: the log alone is read, which is short.
_NEVER = timedelta(days=36_500)
_SETTINGS = ProcessorSettings(projection_interval=_NEVER, timers_ahead=_NEVER)
_HISTORY_MAX = 100_000


class World:
    """Runs the workflows of one test."""

    def __init__(self, registry: DefinitionRegistry, beginning: datetime, seed: int) -> None:
        self._loop = VirtualLoop()
        self._beginning = beginning
        clock = VirtualClock(self._loop, beginning)
        self._broker = MemoryBroker(now=clock.now)
        log, projections = MemoryEventLog(), MemoryProjections()
        self._requests = _RequestsAside(self._broker)
        #: Id -> status, of the workflows that changed since the last `news`.
        self._statuses: dict[str, str] = {}
        gateway = CommandGateway(
            MemoryPublisher(self._broker), MemoryEventFeed(self._broker), clock
        )
        queries = MemoryWorkflowQueries(projections)
        self._reader = WorkflowReader(log, projections, queries, registry.get, clock)
        self._start = StartWorkflow(gateway, self._reader, registry)
        self._control = ControlWorkflow(gateway, self._reader)
        inbox = [self._broker.topic(name) for name in (topics.COMMANDS, topics.REPLIES)]
        layout = InboxLayout({topic.name: topic.id for topic in inbox}, 1, _SECRET)
        ports = Ports(
            inbox=MemoryInbox(self._broker),
            publisher=self._requests,
            event_log=log,
            projections=projections,
            hot_state=None,
            definitions=registry,
            telemetry=self,
            clock=clock,
        )
        self._processor = Processor(
            ports,
            layout,
            lambda key: partition_for(key.encode(), 1),
            CATALOG,
            _SETTINGS,
            random.Random(seed),  # noqa: S311 - the same seed gives the same run
        )
        drive(projections.save_starts([InboxStart(t.name, 0, t.id, 0) for t in inbox]))
        self._background = [
            self._loop.create_task(self._processor.run()),
            self._loop.create_task(gateway.run()),
        ]
        self._settle()

    def close(self) -> None:
        self._loop.close()

    # -- telemetry -------------------------------------------------------------------------------

    def recorded(self, events: Sequence[RecordedEvent], state: State) -> None:  # noqa: ARG002
        if isinstance(state, WorkflowInstance):
            self._statuses[state.id] = state.status.value

    def counted(self, what: str, amount: int = 1) -> None:
        """No test needs it."""

    # -- commands --------------------------------------------------------------------------------

    def start(self, body: Document) -> None:
        """Start a workflow, as REST does. Raises Refused."""
        self._do(self._start(_CALLER, orjson.dumps(body)))

    def control(self, command_type: str, workflow_id: str, data: Document) -> None:
        """Send a command to a workflow, as REST does. Raises Refused."""
        self._do(self._control(_CALLER, command_type, workflow_id, data))

    def reply(self, events: Sequence[Mapping[str, Any]]) -> None:
        """Take the replies of participants."""
        for event in events:
            self._broker.append(unstructured(topics.REPLIES, event))
        self._settle()

    def advance(self, to: float) -> None:
        """Let time pass, up to that many seconds since the beginning."""
        self._settle(max(to, self._loop.time()))

    def look(self, workflow_id: str) -> Document:
        """The workflow's resource and its history."""
        return {
            "resource": self._do(self._reader.get(workflow_id)),
            "history": self._do(self._reader.history(workflow_id, limit=_HISTORY_MAX))["items"],
        }

    def news(self) -> Document:
        """The time, when something is due, and what happened since the last time: requests and statuses."""
        statuses, self._statuses = self._statuses, {}
        return {
            "now": self._loop.time(),
            "due": self._next_due(),
            "requests": [structured(message) for message in self._requests.take()],
            "statuses": statuses,
        }

    def _next_due(self) -> float | None:
        """Seconds from the beginning to the next timer of a workflow."""
        moments = (
            hot.aggregate.kind.next_due(hot.state)
            for partition in self._processor.partitions.values()
            for hot in partition.states.values()
        )
        due = min((moment for moment in moments if moment is not None), default=None)
        return None if due is None else (due - self._beginning).total_seconds()

    def _do(self, work: Coroutine[Any, Any, T]) -> T:
        """What the work returns, at this moment of virtual time."""
        task = self._loop.create_task(work)
        self._settle()
        return task.result()

    def _settle(self, until: float | None = None) -> None:
        self._loop.settle(until)
        for task in self._background:
            if task.done():
                task.result()
                raise RuntimeError("the engine has ended")


class _RequestsAside(MemoryPublisher):
    """Keeps the requests to participants apart, in their order."""

    def __init__(self, broker: MemoryBroker) -> None:
        super().__init__(broker)
        self._requests: list[Message] = []

    async def publish(self, messages: Sequence[Message | Record]) -> None:
        others: list[Message | Record] = []
        for message in messages:
            if isinstance(message, Message) and topics.is_step_requests(message.topic):
                self._requests.append(message)
            else:
                others.append(message)
        await super().publish(others)

    def take(self) -> Sequence[Message]:
        taken, self._requests = self._requests, []
        return taken

"""Engines side by side on the memory adapters, in real time: servers that they share, and what each is told."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from datetime import timedelta

import orjson
from conveyor import topics, types
from conveyor.messages import Message

from adapters.memory.broker import MemoryBroker
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.inbox import MemoryInbox
from adapters.memory.projections import MemoryProjections
from adapters.memory.publisher import MemoryPublisher
from adapters.memory.queries import MemoryWorkflowQueries
from adapters.partitioner import partition_for
from application.aggregates.aggregate import Catalog
from application.aggregates.catalog import CATALOG
from application.definitions import compile_definition
from application.engine.environment import Ports, ProcessorSettings
from application.engine.processor import Processor
from application.ports import (
    Clock,
    Commit,
    Definitions,
    EventLog,
    Inbox,
    InboxLayout,
    InboxStart,
    PublishEventPort,
    Telemetry,
    TopicRepair,
)
from application.queries import WorkflowReader
from domain.aggregate.position import TopicPartition
from domain.definition.definition import WorkflowDefinition
from infrastructure.clock import SystemClock
from tests.documents import document, step
from tests.messages import message_of
from tests.simulation.faulty_messaging import CountingTelemetry

GROUP = "engines"
DEFINITION = compile_definition(document(step("reserve"), name="order"))
#: What an engine's appends wait for.
Hold = Callable[[Sequence[Commit]], Awaitable[None]]


async def at_once(_: Sequence[Commit]) -> None:
    """Nothing holds an append up."""


class Connection(MemoryEventLog):
    """The shared log as one engine reaches it: its appends may be held up on their way."""

    def __init__(self, shared: MemoryEventLog, hold: Hold) -> None:
        super().__init__()
        self._commits, self._by_workflow = shared._commits, shared._by_workflow
        self._hold = hold
        #: Its appends: what, and which of it was written.
        self.appended: list[tuple[Sequence[Commit], Sequence[bool]]] = []

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        await self._hold(commits)
        written = await super().append(commits)
        self.appended.append((commits, written))
        return written


def refuses(commit: Commit) -> bool:
    return any(e.type == types.COMMAND_REJECTED for entry in commit.entries for e in entry.events)


class Engine:
    """One engine, and the outcomes of its appends."""

    def __init__(self, processor: Processor, log: Connection, telemetry: CountingTelemetry) -> None:
        self.processor = processor
        self.log = log
        self.telemetry = telemetry
        self.task = asyncio.ensure_future(processor.run())

    @property
    def refusals(self) -> list[bool]:
        """Of its appends of refusals, whether they were written."""
        return [
            is_written
            for commits, written in self.log.appended
            for commit, is_written in zip(commits, written, strict=True)
            if refuses(commit)
        ]


class Installation:
    """Shared servers, and a registry in which a definition may be registered while engines run."""

    def __init__(self, partitions: int, catalog: Catalog = CATALOG) -> None:
        self.catalog = catalog
        self.broker = MemoryBroker(partitions=partitions)
        self.log = MemoryEventLog()
        self.projections = MemoryProjections()
        self.registered: WorkflowDefinition | None = None
        self.engines: list[Engine] = []
        ids = {name: self.broker.topic(name).id for name in (topics.COMMANDS, topics.REPLIES)}
        self._layout = InboxLayout(ids, partitions, b"secret")

    def cached(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        return None

    async def get(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        return self.registered

    async def initialise(self) -> None:
        """As `conveyor init` does it."""
        starts = [
            InboxStart(topic, partition, id_, 0)
            for topic, id_ in self._layout.topic_ids.items()
            for partition in range(self._layout.partitions)
        ]
        await self.projections.save_starts(starts)

    def ports(
        self,
        name: str,
        log: EventLog,
        telemetry: Telemetry | None = None,
        definitions: Definitions | None = None,
        inbox: Inbox | None = None,
        publisher: PublishEventPort | None = None,
        repair: TopicRepair | None = None,
        clock: Clock | None = None,
    ) -> Ports:
        """What an engine of this name talks to."""
        return Ports(
            inbox=inbox or MemoryInbox(self.broker, GROUP, member=name),
            publisher=publisher or MemoryPublisher(self.broker),
            event_log=log,
            projections=self.projections,
            hot_state=None,
            definitions=definitions or self,
            telemetry=telemetry or CountingTelemetry(),
            clock=clock or SystemClock(),
            topic_repair=repair,
        )

    def engine(
        self,
        name: str,
        hold: Hold = at_once,
        definitions: Definitions | None = None,
        inbox: Inbox | None = None,
        publisher: PublishEventPort | None = None,
        repair: TopicRepair | None = None,
        clock: Clock | None = None,
        projection_interval_ms: int = 20,
    ) -> Engine:
        log, telemetry = Connection(self.log, hold), CountingTelemetry()
        ports = self.ports(name, log, telemetry, definitions, inbox, publisher, repair, clock)
        settings = ProcessorSettings(
            projection_interval=timedelta(milliseconds=projection_interval_ms),
            retry_wait_seconds=0.01,
        )
        count = self._layout.partitions
        processor = Processor(
            ports,
            self._layout,
            lambda key: partition_for(key.encode(), count),
            self.catalog,
            settings,
        )
        engine = Engine(processor, log, telemetry)
        self.engines.append(engine)
        return engine

    def reader(self, clock: Clock | None = None) -> WorkflowReader:
        """What the API reads with."""
        queries = MemoryWorkflowQueries(self.projections)
        return WorkflowReader(self.log, self.projections, queries, self.get, clock or SystemClock())

    def start_workflow(self, message_id: str, workflow_id: str = "wf-1") -> None:
        """A client asks for a workflow of the definition."""
        data = orjson.dumps({"definition": "order", "input": {"order": "1"}})
        start = message_of(types.START, data, workflow_id, source="/shop", id=message_id)
        self.broker.append(start)

    def outcomes(self, message_id: str) -> set[str]:
        """Types of the published events that the message caused."""
        return {
            stored.message.type
            for log in self.broker.topic(topics.EVENTS).logs
            for stored in log.read(0, log.end)
            if isinstance(stored.message, Message)
            and stored.message.extensions["causationid"] == message_id
        }

    def decided_for(self, message_id: str) -> list[str]:
        """Aggregates whose log has an entry of the message."""
        return [
            commit.aggregate_id
            for commit in self.log.in_order()
            for entry in commit.entries
            if entry.message_id == f"/shop {message_id}"
        ]

    def is_done(self, offset: int, partition: int = 0) -> bool:
        """The group has committed that much of the commands."""
        return self.committed(partition) == offset

    def committed(self, partition: int = 0) -> int:
        """What the group has committed of the commands."""
        committed = self.broker.group(GROUP).committed
        return committed.get(TopicPartition(topics.COMMANDS, partition), 0)

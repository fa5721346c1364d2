"""One simulated installation: engines, participants, clients and what happens to them, from one seed.

A run has two phases. First everything goes wrong at random; then all faults end, and the world must
come to rest within a bounded time. What is there at the end is for `checks`.
"""

from __future__ import annotations

import asyncio
import random
from collections.abc import Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import timedelta
from functools import partial
from typing import Any

from conveyor import topics
from conveyor.key_store import KeyStore
from conveyor.runner import ParticipantRunner
from conveyor.transport import Transport

from adapters.memory.broker import MemoryBroker
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.hot_state import MemoryHotState
from adapters.memory.inbox import MemoryInbox
from adapters.memory.projections import MemoryProjections
from adapters.memory.virtual_time import drive
from adapters.partitioner import partition_for
from application.aggregates.aggregate import Aggregate, Catalog
from application.aggregates.inbox import INBOX
from application.aggregates.workflow import WORKFLOW
from application.codec.internal import TIMER_DUE, read_timer
from application.engine.environment import Ports, ProcessorSettings
from application.engine.processor import Processor
from application.ports import InboxLayout, InboxStart
from application.workers.desk import ServicePorts
from domain.aggregate.kind import Moment
from domain.workflow.commands import Command
from domain.workflow.decide import Decision, decide
from domain.workflow.instance import WorkflowInstance
from tests.simulation.chances import Chances, Plan
from tests.simulation.clock import SimulatedClock, virtual_now
from tests.simulation.definitions import SHELF, Deployment, FaultyDefinitions
from tests.simulation.faults import MILLISECOND, Network, Process, Weather
from tests.simulation.faulty_messaging import (
    CountingTelemetry,
    FaultyInbox,
    FaultyPublisher,
    FaultyRepair,
)
from tests.simulation.faulty_stores import (
    FaultyEventLog,
    FaultyHotState,
    FaultyProjections,
    ReplicatedLog,
)
from tests.simulation.leased import Desks, LeasedTransport, LeaseWatch
from tests.simulation.participants import (
    BANK,
    FLOOR,
    FaultyKeyStore,
    FaultyTransport,
    KeyRecords,
    Manners,
    Performer,
    participant,
)
from tests.simulation.quiet import COMMAND_IDS_KEPT
from tests.simulation.refusals import Refusals
from tests.simulation.trace import Trace
from tests.simulation.watch import Watch
from tests.simulation.workload import Clients

Decide = Callable[[WorkflowInstance | None, Command, Moment], Decision]

ENGINES = "engines"
#: A member of a group that is silent for so long is expelled.
SESSION_SECONDS = 2.5
FAULT_SECONDS = 20.0
SECRET = b"simulated"
#: Of how many runs one participant works over HTTP.
LEASED = 0.3
DESK = "bank/desk"


@dataclass(slots=True)
class Engine:
    """One running engine."""

    process: Process
    clock: SimulatedClock
    processor: Processor
    task: asyncio.Task[None]


@dataclass(slots=True)
class Worker:
    """One running process of a participant, or of the desk that lends requests to it."""

    process: Process
    clock: SimulatedClock
    #: Of the participant; a desk has its name and `/desk`.
    name: str
    #: Consumer groups that it belongs to.
    groups: tuple[str, ...]
    task: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What may be exchanged for something broken, to see whether the checks notice."""

    event_log: type[MemoryEventLog] = MemoryEventLog
    replicated_log: type[ReplicatedLog] = ReplicatedLog
    projections: type[MemoryProjections] = MemoryProjections
    hot_state: type[MemoryHotState] = MemoryHotState
    inbox: type[MemoryInbox] = MemoryInbox
    publisher: type[FaultyPublisher] = FaultyPublisher
    append: type[FaultyEventLog] = FaultyEventLog
    keys: type[KeyRecords] = KeyRecords
    #: Kinds of aggregates besides those of the product, and what sets them going.
    kinds: tuple[Aggregate[Any], ...] = ()
    begin: Callable[[World], None] = lambda _: None
    #: What else of the system is replaced: owner, name of the attribute, value.
    patches: tuple[tuple[Any, str, Any], ...] = ()


class World:
    """Everything there is. To be made inside a running virtual loop."""

    def __init__(
        self,
        chances: Chances,
        trace: Trace,
        parts: Parts,
        plan: Plan,
        *,
        many: bool = False,
        heavy: bool = False,
    ) -> None:
        self.chances = chances
        self.dice = dice = chances.stream("world")
        self.trace = trace
        self._parts = parts
        weather = Weather(
            failing=dice.choice((0.0, 0.005, 0.02, 0.06)),
            latency=dice.choice((2, 10, 40)) * MILLISECOND,
            duplicates=dice.choice((0.0, 0.03, 0.15)),
            lagging=dice.choice((0.0, 0.1, 0.5)),
            holding_up=dice.choice((0.0, 0.03, 0.15)),
            cutting_off=chances.stream("leases").choice((0.0, 0.1, 0.4)),
            losing=chances.stream("losing").choice((0.0, 0.0, 0.001, 0.01)),
        )
        self.manners = Manners(
            slow=dice.choice((0.02, 0.1, 0.3)),
            retryable=dice.choice((0.0, 0.1, 0.3)),
            terminal=dice.choice((0.0, 0.03, 0.1)),
            unknown=dice.choice((0.0, 0.0, 0.05, 0.2)),
            dying=dice.choice((0.0, 0.05, 0.2)),
            too_large=dice.choice((0.0, 0.0, 0.1)),
        )
        self.network = network = Network(chances, weather, trace)
        self.broker = MemoryBroker(partitions=dice.choice((1, 2, 4)), now=virtual_now)
        self.watch = Watch(SHELF.of, self.partition_of, SECRET, trace)
        self.log = parts.replicated_log(chances, weather, parts.event_log(), self.watch)
        self.projections = parts.projections()
        self.hot_state = parts.hot_state("engine")
        self.keys = {name: parts.keys(self.watch, trace) for name in ("floor", "bank")}
        #: Whether `bank` works over HTTP, and where.
        self.is_leased = chances.stream("leased").random() < LEASED
        self.desks = Desks(network, LeaseWatch(self.watch, self.keys["bank"]))
        self.deployment = Deployment(at=dice.uniform(0.0, FAULT_SECONDS / 2))
        self.clients = Clients(self.broker, network, chances, plan, many=many, heavy=heavy)
        self.refusals = Refusals(network, FAULT_SECONDS)
        self.telemetry = CountingTelemetry()
        self.engines: list[Engine] = []
        self.workers: list[Worker] = []
        #: Exceptions that ended a process by themselves.
        self.crashes: list[BaseException] = []
        self._names = 0
        self._layout = self._initialise()
        #: Replaced where deciding is to fail.
        self.decide: Decide = decide
        kind = replace(WORKFLOW.kind, decide=self._decide)
        kinds = (replace(WORKFLOW, kind=kind), INBOX, *parts.kinds)
        self.catalog = Catalog(kinds, shared={TIMER_DUE: read_timer})
        parts.begin(self)

    def _decide(self, instance: WorkflowInstance | None, command: Command, at: Moment) -> Decision:
        return self.decide(instance, command, at)

    def _initialise(self) -> InboxLayout:
        """As `conveyor init` does it."""
        inbox = [self.broker.topic(name) for name in (topics.COMMANDS, topics.REPLIES)]
        layout = InboxLayout(
            {topic.name: topic.id for topic in inbox}, self.broker.partitions, SECRET
        )
        drive(self.projections.save_layout(layout))
        starts = [
            InboxStart(topic.name, partition, topic.id, 0)
            for topic in inbox
            for partition in range(self.broker.partitions)
        ]
        drive(self.projections.save_starts(starts))
        return layout

    def partition_of(self, workflow_id: str) -> int:
        return partition_for(workflow_id.encode(), self.broker.partitions)

    def _process(self, kind: str, skews: Sequence[float]) -> tuple[Process, SimulatedClock]:
        self._names += 1
        process = Process(f"{kind}-{self._names}")
        skew = timedelta(seconds=self.dice.choice(skews))
        self.trace.note(process.name, f"starts, clock off by {skew.total_seconds()} s")
        self.watch.clock_is_off(process.name, skew)
        return process, SimulatedClock(process, self.network.weather, skew)

    def run(self, work: Coroutine[Any, Any, None]) -> asyncio.Task[None]:
        task = asyncio.ensure_future(work)
        task.add_done_callback(self._ended)
        return task

    # -- starting --------------------------------------------------------------------------------

    def start_engine(self) -> Engine:
        dice, network, watch = self.dice, self.network, self.watch
        process, clock = self._process("engine", (-1.0, 0.0, 0.0, 1.7))
        inbox = self._parts.inbox(self.broker, ENGINES, member=process.name)
        publisher = self._parts.publisher(self.broker, process, network, watch)
        ports = Ports(
            inbox=FaultyInbox(inbox, process, network, watch),
            publisher=publisher,
            topic_repair=FaultyRepair(publisher),
            event_log=self._parts.append(self.log, process, network),
            projections=FaultyProjections(self.projections, process, network, watch),
            hot_state=FaultyHotState(self.hot_state, process, network, watch),
            definitions=FaultyDefinitions(self.deployment, process, network, clock),
            telemetry=self.telemetry,
            clock=clock,
        )
        settings = ProcessorSettings(
            batch_size=dice.choice((1, 5, COMMAND_IDS_KEPT if self.clients.many else 1000)),
            projection_interval=timedelta(seconds=dice.choice((0.05, 0.4, 1.5))),
            timers_ahead=timedelta(seconds=dice.choice((1, 30))),
            timer_resend=timedelta(seconds=dice.choice((0.3, 2.0))),
            cached_instances=dice.choice((0, 3, 20_000)),
        )
        processor = Processor(
            ports,
            self._layout,
            self.partition_of,
            self.catalog,
            settings,
            random.Random(dice.random()),
        )
        watch.decided[process.name] = partial(_replies_decided, processor)
        watch.held[process.name] = partial(_held, processor)
        engine = Engine(process, clock, processor, self.run(processor.run()))
        self.engines.append(engine)
        return engine

    @property
    def participants(self) -> Mapping[str, tuple[str, ...]]:
        """Consumer group -> the services whose requests it reads."""
        if self.is_leased:
            return {"floor": tuple(FLOOR), **{service: (service,) for service in BANK}}
        return {"floor": tuple(FLOOR), "bank": tuple(BANK)}

    @property
    def needed(self) -> tuple[str, ...]:
        """Names of the workers without which nothing would go on."""
        return ("floor", "bank", DESK) if self.is_leased else ("floor", "bank")

    def start_worker(self, name: str) -> None:
        if name == DESK:
            self._start_desk()
            return
        process, clock = self._process(name, (-0.3, 0.0, 0.2))
        shared = self.keys[name]
        is_leased = self.is_leased and name == "bank"
        groups = () if is_leased else (name,)
        keys = self._key_store(shared, process, groups)
        performer = Performer(
            process=process,
            shared=shared,
            manners=self.manners,
            network=self.network,
            now=clock.now,
            die=lambda: self.kill_worker(worker),
            store=keys if name == "floor" else None,
        )
        transport: Transport = FaultyTransport(self.broker, process, self.network, self.watch)
        store: KeyStore = keys
        if is_leased:
            transport = LeasedTransport(self.desks, process)
            store = transport.key_store
        runner = ParticipantRunner(
            participant(name, performer.handler),
            transport,
            store,
            instance=process.name,
            now=clock.now,
        )
        task = self.run(runner.run())
        worker = Worker(process, clock, name, groups, task)
        self.workers.append(worker)

    def _start_desk(self) -> None:
        """A process of the service that lends the requests of `bank` to its workers."""
        process, clock = self._process("desk", (-0.3, 0.0, 0.2))
        groups = tuple(BANK)
        shared = self.keys["bank"]

        def connect(_: str) -> ServicePorts:
            transport = FaultyTransport(self.broker, process, self.network, self.watch)
            return ServicePorts(transport, self._key_store(shared, process, groups))

        desk = self.desks.make(process, clock, connect)
        task = self.run(desk.desk.run(asyncio.Event()))
        self.desks.open.append(desk)
        self.workers.append(Worker(process, clock, DESK, groups, task))

    def _key_store(
        self, shared: KeyRecords, process: Process, groups: Sequence[str]
    ) -> FaultyKeyStore:
        return FaultyKeyStore(
            shared, process, self.network, lambda: self._expel(process.name, groups)
        )

    def _expel(self, process: str, groups: Sequence[str]) -> None:
        for group in groups:
            self.broker.group(group).expel(process)

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.crashes.append(task.exception() or SystemError())

    # -- what happens to them --------------------------------------------------------------------

    def kill_engine(self, engine: Engine) -> None:
        self.engines.remove(engine)
        self._kill(engine.process, (ENGINES,), engine.task)

    def kill_worker(self, worker: Worker) -> None:
        """It comes back a little later."""
        if worker not in self.workers:
            return
        self.workers.remove(worker)
        self.desks.close(worker.process)
        self._kill(worker.process, worker.groups, worker.task)
        self.network.later(self.dice.uniform(0.0, 4.0), lambda: self.start_worker(worker.name))

    def _kill(self, process: Process, groups: Sequence[str], task: asyncio.Task[None]) -> None:
        """Its memory is gone; its groups find out later."""
        self.trace.note(process.name, "DIES")
        process.die()
        task.cancel()
        self.network.later(
            self.dice.uniform(0.0, SESSION_SECONDS), lambda: self._expel(process.name, groups)
        )

    def freeze(self, process: Process, groups: Sequence[str], seconds: float) -> None:
        """It does nothing for a while and does not notice; its groups may go on without it."""
        if process.frozen_since is not None:
            return
        self.trace.note(process.name, f"FREEZES for {seconds:.2f} s")
        process.freeze()
        if seconds > SESSION_SECONDS:
            self.network.later(SESSION_SECONDS, lambda: self._expel(process.name, groups))
        self.network.later(seconds, lambda: self._thaw(process))

    def _thaw(self, process: Process) -> None:
        self.trace.note(process.name, "thaws")
        process.thaw()

    def stop_engine(self, engine: Engine) -> None:
        """Orderly: it finishes what it has, and leaves."""
        self.trace.note(engine.process.name, "is asked to stop")
        self.engines.remove(engine)
        engine.processor.stop()

    def heal(self) -> None:
        """From now on nothing fails any more, and everything that is needed runs."""
        self.trace.note("world", "HEALED")
        self.chances.is_over = True
        self.network.weather.clear()
        self.manners.behave()
        self.deployment.is_done = True
        self.refusals.outlast()
        for each in (*self.engines, *self.workers):
            each.process.thaw()
        if not self.engines:
            self.start_engine()
        for name in self.needed:
            if not any(worker.name == name for worker in self.workers):
                self.start_worker(name)


def _held(processor: Processor) -> dict[int, dict[str, int]]:
    return {
        number: {key: hot.version for key, hot in partition.states.items()}
        for number, partition in processor.partitions.items()
    }


def _replies_decided(processor: Processor) -> dict[int, int]:
    return {
        number: partition.decided.get(topics.REPLIES, 0)
        for number, partition in processor.partitions.items()
    }

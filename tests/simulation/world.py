"""One simulated installation: engines, participants, clients and what happens to them, from one seed.

A run has two phases. First everything goes wrong at random; then all faults end, and the world must
come to rest within a bounded time. What is there at the end is for `checks`.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import random
from collections.abc import Iterator, MutableMapping, Sequence
from dataclasses import dataclass
from datetime import timedelta
from types import SimpleNamespace
from typing import Any

import structlog
from conveyor import execution, topics
from conveyor.runner import ParticipantRunner

from adapters.memory.broker import MemoryBroker
from adapters.memory.event_log import MemoryEventLog
from adapters.memory.hot_state import MemoryHotState
from adapters.memory.inbox import MemoryInbox
from adapters.memory.projections import MemoryProjections
from adapters.partitioner import partition_for
from application.engine.environment import Ports, ProcessorSettings
from application.engine.processor import Processor
from application.ports import InboxLayout, InboxStart
from tests.simulation.clock import SimulatedClock, virtual_now
from tests.simulation.definitions import DEFINITIONS
from tests.simulation.faults import MILLISECOND, Network, Process, Weather
from tests.simulation.faulty_ports import (
    CountingTelemetry,
    FaultyEventLog,
    FaultyHotState,
    FaultyInbox,
    FaultyProjections,
    FaultyPublisher,
    ReplicatedLog,
)
from tests.simulation.loop import drive
from tests.simulation.participants import (
    Effect,
    FaultyKeyStore,
    FaultyTransport,
    KeyRecords,
    Manners,
    participant,
)
from tests.simulation.trace import Trace
from tests.simulation.workload import Clients

ENGINES = "engines"
#: A member of a group that is silent for so long is expelled.
SESSION_SECONDS = 2.5
FAULT_SECONDS = 20.0
_SECRET = b"simulated"


@dataclass(slots=True)
class Engine:
    """One running engine."""

    process: Process
    processor: Processor
    task: asyncio.Task[None]


@dataclass(slots=True)
class Worker:
    """One running process of a participant."""

    process: Process
    group: str
    task: asyncio.Task[None]


@dataclass(frozen=True, slots=True)
class Parts:
    """What may be exchanged for something broken, to see whether the checks notice."""

    event_log: type[MemoryEventLog] = MemoryEventLog
    projections: type[MemoryProjections] = MemoryProjections
    inbox: type[MemoryInbox] = MemoryInbox
    keys: type[KeyRecords] = KeyRecords
    #: What else of the system is replaced: owner, name of the attribute, value.
    patches: tuple[tuple[Any, str, Any], ...] = ()


class World:
    """Everything there is. To be made inside a running virtual loop."""

    def __init__(self, seed: int, trace: Trace, parts: Parts) -> None:
        self.rng = rng = random.Random(seed)
        self.trace = trace
        self._parts = parts
        weather = Weather(
            failing=rng.choice((0.0, 0.005, 0.02, 0.06)),
            latency=rng.choice((2, 10, 40)) * MILLISECOND,
            duplicates=rng.choice((0.0, 0.03, 0.15)),
        )
        self.manners = Manners(
            slow=rng.choice((0.02, 0.1, 0.3)),
            retryable=rng.choice((0.0, 0.1, 0.3)),
            terminal=rng.choice((0.0, 0.03, 0.1)),
        )
        self.network = Network(rng, weather, trace)
        self.broker = MemoryBroker(partitions=rng.choice((1, 2, 4)), now=virtual_now)
        self.log = ReplicatedLog(self.network, self._parts.event_log())
        self.projections = self._parts.projections()
        self.hot_state = MemoryHotState("engine")
        self.effects: list[Effect] = []
        self.keys = {name: self._parts.keys(self.effects) for name in ("floor", "bank")}
        self.clients = Clients(self.broker, self.network)
        self.telemetry = CountingTelemetry()
        self.engines: list[Engine] = []
        self.workers: list[Worker] = []
        #: Exceptions that ended a process by themselves.
        self.crashes: list[BaseException] = []
        self._names = 0
        self._layout = self._initialise()

    def _initialise(self) -> InboxLayout:
        """As `conveyor init` does it."""
        inbox = [self.broker.topic(name) for name in (topics.COMMANDS, topics.REPLIES)]
        layout = InboxLayout(
            {topic.name: topic.id for topic in inbox}, self.broker.partitions, _SECRET
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

    def _name(self, kind: str) -> str:
        self._names += 1
        return f"{kind}-{self._names}"

    # -- engines ---------------------------------------------------------------------------------

    def start_engine(self) -> None:
        rng, network = self.rng, self.network
        process = Process(self._name("engine"))
        inbox = self._parts.inbox(self.broker, ENGINES, member=process.name)
        ports = Ports(
            inbox=FaultyInbox(inbox, process, network),
            publisher=FaultyPublisher(self.broker, process, network),
            event_log=FaultyEventLog(self.log, process, network),
            projections=FaultyProjections(self.projections, process, network),
            hot_state=FaultyHotState(self.hot_state, process, network),
            definitions=DEFINITIONS,
            telemetry=self.telemetry,
            clock=self._clock(process, (-1.0, 0.0, 0.0, 1.7)),
        )
        settings = ProcessorSettings(
            batch_size=rng.choice((1, 5, 1000)),
            projection_interval=timedelta(seconds=rng.choice((0.05, 0.4, 1.5))),
            timers_ahead=timedelta(seconds=rng.choice((1, 30))),
            timer_resend=timedelta(seconds=rng.choice((0.3, 2.0))),
            cached_instances=rng.choice((0, 3, 20_000)),
        )
        processor = Processor(
            ports, self._layout, self.partition_of, settings, random.Random(rng.random())
        )
        task = asyncio.ensure_future(processor.run())
        task.add_done_callback(self._ended)
        self.engines.append(Engine(process, processor, task))
        self.trace.note(process.name, "starts")

    def _clock(self, process: Process, skews: Sequence[float]) -> SimulatedClock:
        skew = timedelta(seconds=self.rng.choice(skews))
        return SimulatedClock(process, self.network.weather, skew)

    def start_worker(self, name: str) -> None:
        process = Process(self._name(name))
        keys = FaultyKeyStore(self.keys[name], process, self.network)
        runner = ParticipantRunner(
            participant(name, self.manners, keys, self.network),
            FaultyTransport(self.broker, process, self.network),
            keys,
            instance=process.name,
            now=self._clock(process, (-0.3, 0.0, 0.2)).now,
        )
        task = asyncio.ensure_future(runner.run())
        task.add_done_callback(self._ended)
        self.workers.append(Worker(process, name, task))
        self.trace.note(process.name, "starts")

    def _ended(self, task: asyncio.Task[None]) -> None:
        if not task.cancelled() and task.exception() is not None:
            self.crashes.append(task.exception() or SystemError())

    def kill_engine(self, engine: Engine) -> None:
        self.engines.remove(engine)
        self._kill(engine.process, ENGINES, engine.task)

    def kill_worker(self, worker: Worker) -> None:
        self.workers.remove(worker)
        self._kill(worker.process, worker.group, worker.task)

    def _kill(self, process: Process, group: str, task: asyncio.Task[None]) -> None:
        """Its memory is gone; its group finds out later."""
        self.trace.note(process.name, "DIES")
        process.die()
        task.cancel()
        self.network.later(
            self.rng.uniform(0.0, SESSION_SECONDS),
            lambda: self.broker.group(group).expel(process.name),
        )

    def freeze(self, process: Process, group: str, seconds: float) -> None:
        """It does nothing for a while and does not notice; its group may go on without it."""
        if process.frozen_since is not None:
            return
        self.trace.note(process.name, f"FREEZES for {seconds:.2f} s")
        process.freeze()
        if seconds > SESSION_SECONDS:
            self.network.later(
                SESSION_SECONDS, lambda: self.broker.group(group).expel(process.name)
            )
        self.network.later(seconds, lambda: self._thaw(process))

    def _thaw(self, process: Process) -> None:
        self.trace.note(process.name, "thaws")
        process.thaw()

    # -- the run ---------------------------------------------------------------------------------

    def stop_engine(self, engine: Engine) -> None:
        """Orderly: it finishes what it has, and leaves."""
        self.trace.note(engine.process.name, "is asked to stop")
        self.engines.remove(engine)
        engine.processor.stop()

    def heal(self) -> None:
        """From now on nothing fails any more, and everything that is needed runs."""
        self.trace.note("world", "HEALED")
        self.network.weather.clear()
        self.manners.behave()
        for each in (*self.engines, *self.workers):
            each.process.thaw()
        if not self.engines:
            self.start_engine()
        for name in self.keys:
            if not any(worker.group == name for worker in self.workers):
                self.start_worker(name)


@contextlib.contextmanager
def quiet(trace: Trace) -> Iterator[None]:
    """Log lines go into the trace, and handlers' run times are virtual."""
    before = structlog.get_config()
    was_disabled, clock = logging.root.manager.disable, execution.time

    def into_trace(_: Any, __: str, event: MutableMapping[str, Any]) -> Any:
        told = " ".join(f"{name}={event[name]}" for name in sorted(event) if name not in _UNTOLD)
        trace.note("log", told)
        raise structlog.DropEvent

    structlog.configure(processors=[into_trace], cache_logger_on_first_use=False)
    logging.disable(logging.CRITICAL)
    execution.time = SimpleNamespace(perf_counter=_virtual_seconds)  # type: ignore[assignment]
    try:
        yield
    finally:
        structlog.configure(**before)
        logging.disable(was_disabled)
        execution.time = clock


_UNTOLD = ("exc_info",)


def _virtual_seconds() -> float:
    return asyncio.get_running_loop().time()

"""Measuring the embedded mode.

Engine, participant and SQLite file live in one process, as in `conveyor dev`, and that process is
this one. The load comes from two light tasks beside them, which write start commands to the
embedded topic, in groups, and read the ends from the events topic. So the one process of the report,
`engine`, is all of these; `dev`'s HTTP server is not in it.
"""

from __future__ import annotations

import asyncio
import os
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

from conveyor import topics, types
from conveyor.messages import Message
from conveyor.runner import ParticipantRunner
from prometheus_client import CollectorRegistry

from adapters.sqlite.batches import as_message
from adapters.sqlite.participant import (
    ParticipantSession,
    SqliteKeyStore,
    SqliteParticipantTransport,
)
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.topics import Consumer, Taken
from application.codec.times import rfc3339
from application.ports import Document
from infrastructure.bench.errors import BenchError
from infrastructure.bench.flushes import counting_flushes
from infrastructure.bench.gauges import Gauge
from infrastructure.bench.load import MAY_END, WARM_UP, Load, Phase, ending
from infrastructure.bench.options import Options
from infrastructure.bench.profiles import profiled
from infrastructure.bench.watch import Watch
from infrastructure.initialise import initialise_embedded
from infrastructure.running import EngineRunner
from infrastructure.settings import Settings
from infrastructure.warehouse import build_warehouse
from infrastructure.wiring import Backbone, Embedded, embedded

#: Where files are on a disk, unless TMPDIR says otherwise: in memory every flush would be free.
_ON_DISK = Path("/var/tmp")  # noqa: S108 - only a folder of our own is made there
_WAIT_SECONDS = 1.0
_EVENTS_AT_ONCE = 5000
SOURCE = "/conveyor/bench"


def run_embedded(load: Load, options: Options, settings: Settings) -> tuple[Document, bool]:
    """The report, and whether every workflow ended as it should. Raises BenchError."""
    parent = _ON_DISK if _ON_DISK.is_dir() and "TMPDIR" not in os.environ else None
    with (
        tempfile.TemporaryDirectory(prefix="conveyor-bench-", dir=parent) as folder,
        profiled(options.profile),
    ):
        return asyncio.run(_run(load, options, settings, Path(folder) / "bench.db"))


async def _run(
    load: Load, options: Options, settings: Settings, path: Path
) -> tuple[Document, bool]:
    async with embedded(path) as mode:
        await initialise_embedded(mode.backbone, mode.store)
        stop = asyncio.Event()
        engine = EngineRunner(mode.backbone, settings, CollectorRegistry())
        running = [
            asyncio.create_task(engine.run(stop)),
            asyncio.create_task(_participant(mode.store).run_until(stop)),
        ]
        measuring = asyncio.create_task(_measure(mode, load, options))
        try:
            await asyncio.wait([measuring, *running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            # Over, interrupted, or one of the two has ended with a fault that `gather` raises.
            if not measuring.done():
                measuring.cancel()
            stop.set()
            await asyncio.gather(*running)
        return await measuring


def _participant(store: SqliteStore) -> ParticipantRunner:
    session = ParticipantSession(store)
    return ParticipantRunner(
        build_warehouse(), SqliteParticipantTransport(session), SqliteKeyStore(session)
    )


async def _measure(mode: Embedded, load: Load, options: Options) -> tuple[Document, bool]:
    driver = _Driver(mode.backbone, await _ends(mode.store))
    watch = Watch([Gauge("engine", os.getpid())], options)
    warm_up, measured = Phase("warm-up-", load, WARM_UP), Phase("bench-", load)
    await driver.drive(warm_up)
    watch.begin()
    await driver.drive(measured, watch.tick)
    watch.finish()
    flushes = await _flushes_per_saga(driver, load, options) if options.flushes else None
    return watch.report("embedded", load, measured, flushes), not (warm_up.wrong or measured.wrong)


async def _flushes_per_saga(driver: _Driver, load: Load, options: Options) -> float | None:
    traced = Phase("traced-", load)
    try:
        with counting_flushes([os.getpid()]) as count:
            await driver.drive(traced)
    except BenchError as error:
        options.warn(f"flushes are not counted: {error}")
        return None
    return count.flushes / traced.workflows


async def _ends(store: SqliteStore) -> Consumer:
    topic = await store.topic(topics.EVENTS)
    return store.consumer({topic: topic.end})


class _Driver:
    """Keeps the workflows in flight."""

    def __init__(self, backbone: Backbone, events: Consumer) -> None:
        self._publisher = backbone.publisher
        self._clock = backbone.clock
        self._events = events

    async def drive(self, phase: Phase, tick: Callable[[Phase], None] | None = None) -> None:
        """Run the phase to its end. Raises BenchError when nothing ends any more."""
        room = asyncio.Event()
        room.set()
        starting = asyncio.create_task(self._start(phase, room))
        try:
            while not phase.is_over:
                taken = await self._events.take(_EVENTS_AT_ONCE, _WAIT_SECONDS)
                if starting.done():
                    starting.result()
                if _end(phase, taken):
                    room.set()
                    if tick is not None:
                        tick(phase)
                else:
                    phase.check_progress()
        finally:
            starting.cancel()

    async def _start(self, phase: Phase, room: asyncio.Event) -> None:
        """Write what is due as one group, again and again."""
        while True:
            await room.wait()
            room.clear()
            now = rfc3339(self._clock.now())
            await self._publisher.publish(
                [
                    Message(
                        topic=topics.COMMANDS,
                        key=start.workflow_id,
                        type=types.START,
                        source=SOURCE,
                        id=start.workflow_id,
                        subject=start.workflow_id,
                        time=now,
                        data=start.data,
                    )
                    for start in phase.due()
                ]
            )


def _end(phase: Phase, taken: Sequence[Taken]) -> int:
    """Note the ends among the events; answers how many workflows have ended."""
    before, now = phase.ended, time.perf_counter()
    for _, batches in taken:
        for batch in batches:
            for stored in batch.records:
                message = as_message(stored)
                if isinstance(message, Message) and message.type in MAY_END:
                    how = ending(message.type, message.data)
                    if how is not None:
                        phase.end(message.key or "", how, now)
    return phase.ended - before

"""Concurrent parts of a process, which run until it is asked to stop."""

from __future__ import annotations

import asyncio
import gc
import signal
import sys
from collections.abc import Awaitable, Callable
from typing import TypeVar

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry

from application.engine.processor import Processor
from application.gateway import CommandGateway
from application.ports import Unavailable
from infrastructure.settings import Settings
from infrastructure.telemetry import EngineTelemetry
from infrastructure.wiring import Backbone

log = structlog.get_logger("conveyor")

Made = TypeVar("Made")


def stop_on_signals() -> asyncio.Event:
    """An event that SIGTERM and SIGINT set."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def announce(url: str | None, **facts: object) -> None:
    """The first line of a server: its address, what it runs, and how to stop it."""
    if url is None:
        log.info("Conveyor runs; Ctrl-C stops it", **facts)
    else:
        log.info("Conveyor serves its API, described at /docs; Ctrl-C stops it", url=url, **facts)


def tune_interpreter() -> None:
    """Settings of the interpreter for a process that does an engine's work.

    An engine creates many short-lived objects and few cycles, so frequent garbage collection would cost a quarter of
    its time. The thread that writes to SQLite needs the interpreter between any two statements: with the default switch
    interval of 5 ms it would wait longer for a busy event loop than for the disk.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(0.0005)


class EngineRunner:
    """The engine role: waits for its servers, runs a processor, drains it on stop."""

    def __init__(
        self,
        backbone: Backbone,
        settings: Settings,
        metrics: CollectorRegistry,
        *,
        drain_seconds: float = 10.0,
    ) -> None:
        """`drain_seconds`: how long a stop waits for servers that take what was decided."""
        self._drain_seconds = drain_seconds
        self._backbone = backbone
        self._settings = settings
        self._metrics = metrics
        self.processor: Processor | None = None
        self._started_at = 0.0

    @property
    def has_settled(self) -> bool:
        """Whether it has partitions, stopped ones included, or had enough time to be assigned some."""
        processor = self.processor
        if processor is None:
            return False
        patience = 2 * self._settings.kafka.session_timeout_ms / 1000
        waited = asyncio.get_running_loop().time() - self._started_at
        has_any = bool(processor.partitions or processor.ports.inbox.stopped)
        return has_any or waited > patience

    async def run(self, stop: asyncio.Event) -> None:
        """Run until `stop` is set. Raises SetupError."""
        # Not earlier: a process without an engine must not have these metrics.
        telemetry = EngineTelemetry(self._metrics)
        processor = await until_available(
            lambda: self._backbone.processor(self._settings, telemetry), stop
        )
        if processor is None:
            return
        tune_interpreter()
        self.processor = processor
        self._started_at = asyncio.get_running_loop().time()
        running = asyncio.create_task(processor.run())
        stopped = asyncio.create_task(stop.wait())
        await asyncio.wait({running, stopped}, return_when=asyncio.FIRST_COMPLETED)
        stopped.cancel()
        processor.stop()
        _, undrained = await asyncio.wait({running}, timeout=self._drain_seconds)
        if undrained:
            # The next owner repeats what is not committed, as after a crash.
            log.warning("stopping before everything was published: a server does not respond")
            await self._backbone.give_up_publishing()
        await running


async def until_available(make: Callable[[], Awaitable[Made]], stop: asyncio.Event) -> Made | None:
    """The result of `make` once the servers respond; None if `stop` is set first."""
    wait = 0.25
    while not stop.is_set():
        try:
            return await make()
        except Unavailable as away:
            log.warning("waiting for a server", component=away.component, detail=away.detail)
            try:
                await asyncio.wait_for(stop.wait(), wait)
            except TimeoutError:
                wait = min(wait * 2, 4.0)
    return None


async def run_gateway(gateway: CommandGateway, stop: asyncio.Event) -> None:
    """Follow the events for all waiters, across outages. Release the waiters on stop."""
    stopped = asyncio.create_task(stop.wait())
    stopped.add_done_callback(lambda _: gateway.release())
    while not stop.is_set():
        following = asyncio.create_task(gateway.run())
        await asyncio.wait({following, stopped}, return_when=asyncio.FIRST_COMPLETED)
        if not following.done():
            following.cancel()
            await asyncio.wait({following})
            return
        fault = following.exception()
        if fault is not None and not isinstance(fault, Unavailable):
            raise fault
        log.warning("event feed interrupted", detail=str(fault))
        await asyncio.wait({stopped}, timeout=1.0)


async def run_http(app: FastAPI, host: str, port: int, stop: asyncio.Event) -> None:
    """Serve the app until `stop` is set. Running requests are finished."""
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", lifespan="off", timeout_graceful_shutdown=10
    )
    server = uvicorn.Server(config)
    # Signals are handled in one place for all parts of the process.
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server._serve())  # noqa: SLF001 - `serve` would take the signals over  # pyright: ignore[reportPrivateUsage]
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    server.should_exit = True
    await serving

"""Parts of a process that run side by side until it is told to stop."""

from __future__ import annotations

import asyncio
import contextlib
import gc
import signal
import sys
from collections.abc import Awaitable, Callable, Mapping
from typing import TypeVar

import structlog
import uvicorn
from fastapi import FastAPI
from prometheus_client import CollectorRegistry, generate_latest

from adapters.rest.api import Api
from adapters.rest.hosts import Hosts
from application.engine.processor import Processor
from application.gateway import CommandGateway
from application.ports import Document, Unavailable
from application.use_cases.control import ControlWorkflow
from application.use_cases.definitions import RegisterDefinition
from application.use_cases.start import StartWorkflow
from infrastructure.settings import Settings, listed
from infrastructure.telemetry import EngineTelemetry
from infrastructure.version import VERSION
from infrastructure.wiring import Backbone, Probe

log = structlog.get_logger("conveyor")

Made = TypeVar("Made")
_PROBE_SECONDS = 3.0
#: How often the servers are looked at for the log.
_WATCH_SECONDS = 5.0


def stop_on_signals() -> asyncio.Event:
    """Set by SIGTERM and SIGINT."""
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    return stop


def announce(url: str | None, **facts: object) -> None:
    """The first line of a server: where it is, what it runs, and how it ends."""
    if url is None:
        log.info("Conveyor runs; Ctrl-C stops it", **facts)
    else:
        log.info("Conveyor serves its API, described at /docs; Ctrl-C stops it", url=url, **facts)


def tune_interpreter() -> None:
    """Settings of the interpreter for a process that does an engine's work.

    It makes many short-lived objects and few cycles: looking for cycles often costs a quarter of it. And
    the thread that writes to SQLite needs the interpreter between any two statements: at the default
    5 ms it would wait longer for a busy event loop than for the disk.
    """
    gc.collect()
    gc.freeze()
    gc.set_threshold(50_000, 20, 50)
    sys.setswitchinterval(0.0005)


class EngineRunner:
    """The engine role: waits for its servers, runs a processor, drains it on stop."""

    def __init__(self, backbone: Backbone, settings: Settings, metrics: CollectorRegistry) -> None:
        self._backbone = backbone
        self._settings = settings
        self._telemetry = EngineTelemetry(metrics)
        self.processor: Processor | None = None
        self._started_at = 0.0

    @property
    def has_settled(self) -> bool:
        """It has partitions, those that stand still included, or had time enough to be given some."""
        processor = self.processor
        if processor is None:
            return False
        patience = 2 * self._settings.kafka.session_timeout_ms / 1000
        waited = asyncio.get_running_loop().time() - self._started_at
        has_any = bool(processor.partitions or processor.ports.inbox.stopped)
        return has_any or waited > patience

    async def run(self, stop: asyncio.Event) -> None:
        """Until `stop` is set. Raises SetupError."""
        processor = await until_available(
            lambda: self._backbone.processor(self._settings, self._telemetry), stop
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
        await running


async def until_available(make: Callable[[], Awaitable[Made]], stop: asyncio.Event) -> Made | None:
    """What `make` answers once the servers do; None if `stop` comes first."""
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
    """Follow the events for those who wait, over every outage; at the stop let them all go."""
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
    """Serve the app until `stop` is set; requests under way are finished."""
    config = uvicorn.Config(
        app, host=host, port=port, log_level="warning", lifespan="off", timeout_graceful_shutdown=10
    )
    server = uvicorn.Server(config)
    # Signals are handled once, for all parts of the process.
    server.install_signal_handlers = lambda: None  # type: ignore[attr-defined]
    serving = asyncio.create_task(server._serve())  # noqa: SLF001 - `serve` would take the signals over  # pyright: ignore[reportPrivateUsage]
    stopped = asyncio.create_task(stop.wait())
    await asyncio.wait({serving, stopped}, return_when=asyncio.FIRST_COMPLETED)
    stopped.cancel()
    server.should_exit = True
    await serving


class ProcessMonitor:
    """The health document of CONTRACT 6 and the metrics, for one process."""

    version = VERSION

    def __init__(
        self, backbone: Backbone, engine: EngineRunner | None, metrics: CollectorRegistry
    ) -> None:
        self._backbone = backbone
        self._engine = engine
        self._metrics = metrics

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._metrics)

    async def document(self) -> Document:
        problems = await ask_all(self._backbone.probes)
        components: dict[str, Document] = {
            name: {"status": "DOWN" if problem else "UP", "detail": problem}
            for name, problem in problems.items()
        }
        if self._engine is not None:
            components["engine"] = self._engine_component(self._engine)
        return {
            "status": _overall(components),
            "version": VERSION,
            "components": components,
            "services": {},
        }

    def _engine_component(self, engine: EngineRunner) -> Document:
        processor = engine.processor
        if processor is None or not processor.health.running:
            return {"status": "DOWN", "detail": "starting", "partitions": 0, "lag": None}
        inbox = processor.ports.inbox
        troubles = dict(processor.health.troubles)
        if inbox.problem is not None:
            troubles["kafka"] = inbox.problem
        #: Everything else goes on.
        parts = {f"topic {name}": text for name, text in processor.health.held_topics.items()}
        parts |= {f"partition {number}": text for number, text in inbox.stopped.items()}
        status = "DOWN" if troubles.keys() - {"redis"} else "DEGRADED" if parts else "UP"
        detail = "; ".join(f"{name}: {text}" for name, text in (troubles | parts).items()) or None
        return {
            "status": status,
            "detail": detail,
            "partitions": len(processor.partitions),
            "lag": None,
        }

    async def is_ready(self) -> bool:
        """Stores answer and, with an engine here, it has partitions or the group has settled without it."""
        document = await self.document()
        settled = self._engine is None or self._engine.has_settled
        return document["status"] != "DOWN" and settled


async def report_outages(probes: Mapping[str, Probe], stop: asyncio.Event) -> None:
    """A log line when a server goes away and one when it is back."""
    down: dict[str, str] = {}
    while not stop.is_set():
        problems = await ask_all(probes)
        away = {name: problem for name, problem in problems.items() if problem is not None}
        for name in sorted(away.keys() - down.keys()):
            log.warning("a component is down", component=name, detail=away[name])
        for name in sorted(down.keys() - away.keys()):
            log.info("a component is back", component=name)
        down = away
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _WATCH_SECONDS)


async def ask_all(probes: Mapping[str, Probe]) -> dict[str, str | None]:
    """The problem of each component, None for those that are well."""
    problems = await asyncio.gather(*(_ask(probe) for probe in probes.values()))
    return dict(zip(probes, problems, strict=True))


async def _ask(probe: Probe) -> str | None:
    try:
        return await asyncio.wait_for(probe(), _PROBE_SECONDS)
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS:g} s"


def _overall(components: dict[str, Document]) -> str:
    """Without Redis the service is slower to read, not wrong."""
    bad = {n: each["status"] for n, each in components.items() if each["status"] != "UP"}
    if any(status == "DOWN" for name, status in bad.items() if name != "redis"):
        return "DOWN"
    return "DEGRADED" if bad else "UP"


def api_of(
    backbone: Backbone, gateway: CommandGateway, monitor: ProcessMonitor, settings: Settings
) -> Api:
    """Everything that the REST adapter needs."""
    reader = backbone.reader()
    return Api(
        reader=reader,
        start=StartWorkflow(gateway, reader, backbone.registry),
        control=ControlWorkflow(gateway, reader),
        register=RegisterDefinition(backbone.registry, backbone.ensure_request_topic),
        definitions=backbone.definitions,
        monitor=monitor,
        hosts=Hosts(listed(settings.api.allowed_hosts), listed(settings.api.allowed_origins)),
    )

"""`conveyor dev`: everything in one process on one SQLite file, with a simulated warehouse and orders."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import structlog
from conveyor import types
from conveyor.runner import ParticipantRunner
from prometheus_client import CollectorRegistry

from adapters.rest.app import create_app
from adapters.sqlite.participant import (
    ParticipantSession,
    SqliteKeyStore,
    SqliteParticipantTransport,
)
from adapters.sqlite.retention import trim
from adapters.sqlite.store import SqliteStore
from application.engine.takeover import SetupError
from application.gateway import CommandGateway
from application.ports import Unavailable
from infrastructure.initialise import initialise_embedded
from infrastructure.orders import order_stream
from infrastructure.running import (
    EngineRunner,
    ProcessMonitor,
    announce,
    api_of,
    run_gateway,
    run_http,
    stop_on_signals,
)
from infrastructure.serve import refuse_open_host
from infrastructure.settings import Settings
from infrastructure.trimming import run_trimming
from infrastructure.warehouse import build_warehouse
from infrastructure.wiring import embedded

log = structlog.get_logger("conveyor")


async def run_dev(
    settings: Settings,
    *,
    db: Path,
    host: str = "127.0.0.1",
    port: int = 8080,
    orders_per_second: float = 1.0,
    with_warehouse: bool = True,
) -> None:
    """Run the embedded mode until SIGTERM or Ctrl-C. Raises UnusableFileError, SetupError."""
    refuse_open_host(host)
    if settings.profile == "production":
        raise SetupError(
            "CONVEYOR_PROFILE=production: `conveyor dev` keeps everything in one file and is for"
            " trials; run `conveyor serve`, or unset CONVEYOR_PROFILE"
        )
    stop = stop_on_signals()
    async with embedded(db) as mode:
        backbone = mode.backbone
        await initialise_embedded(backbone, mode.store)
        metrics = CollectorRegistry()
        engine = EngineRunner(backbone, settings, metrics)
        gateway = backbone.gateway()
        monitor = ProcessMonitor(backbone, engine, metrics)
        app = create_app(api_of(backbone, gateway, monitor, settings))
        announce(f"http://{host}:{port}", db=str(db))
        async with asyncio.TaskGroup() as group:
            group.create_task(engine.run(stop))
            group.create_task(run_gateway(gateway, stop))
            group.create_task(run_http(app, host, port, stop))
            interval = settings.scheduler.outbox_cleanup_interval_ms / 1000
            group.create_task(run_trimming(partial(trim, mode.store), interval, stop))
            if with_warehouse:
                group.create_task(_run_warehouse(mode.store, stop))
            if orders_per_second > 0:
                group.create_task(send_orders(gateway, orders_per_second, stop))


async def _run_warehouse(store: SqliteStore, stop: asyncio.Event) -> None:
    session = ParticipantSession(store)
    runner = ParticipantRunner(
        build_warehouse(), SqliteParticipantTransport(session), SqliteKeyStore(session)
    )
    await runner.run_until(stop)


async def send_orders(gateway: CommandGateway, per_second: float, stop: asyncio.Event) -> None:
    """A stream of orders, some of which fail at pick-items and compensate."""
    for workflow_id, data in order_stream():
        if stop.is_set():
            return
        command = gateway.message(types.START, workflow_id, data)
        try:
            await gateway.send(command, 0.0)
        except Unavailable as away:
            log.warning("an order was not taken", component=away.component, detail=away.detail)
        try:
            await asyncio.wait_for(stop.wait(), 1 / per_second)
        except TimeoutError:
            continue

"""`conveyor dev`: everything in one process on one SQLite file, with a simulated warehouse and orders."""

from __future__ import annotations

import asyncio
from functools import partial
from pathlib import Path

import structlog
from conveyor import types
from conveyor.runner import ParticipantRunner

from adapters.sqlite.participant import (
    ParticipantSession,
    SqliteKeyStore,
    SqliteParticipantTransport,
)
from application.gateway import CommandGateway
from application.ports import SetupError, Unavailable
from application.use_cases.definitions import RegisterDefinition
from infrastructure.definition_folder import DefinitionFolder
from infrastructure.dev_worker import run_worker, worker_script
from infrastructure.initialise import initialise_embedded
from infrastructure.orders import order_stream
from infrastructure.roles import ROLES, Addresses, Role, Site, run_roles
from infrastructure.running import announce, stop_on_signals
from infrastructure.serve import refuse_open_host
from infrastructure.settings import Settings
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
    worker: str | None = None,
    reload: bool = False,
    definitions: Path | None = None,
) -> None:
    """Run the embedded mode until SIGTERM or Ctrl-C. Raises UnusableFileError, SetupError.

    `worker` is the MODULE:OBJECT of a worker to run as well; with `reload` it starts again after each change of
    its code. `definitions` is a folder of definitions to register.
    """
    if reload and worker is None:
        raise SetupError("--reload starts a worker again: name it with --worker MODULE:OBJECT")
    refuse_open_host(host)
    if settings.profile == "production":
        raise SetupError(
            "CONVEYOR_PROFILE=production: `conveyor dev` keeps everything in one file and is for"
            " trials; run `conveyor serve`, or unset CONVEYOR_PROFILE"
        )
    stop = stop_on_signals()
    roles = list(ROLES.values())
    async with embedded(db, settings) as mode:
        await initialise_embedded(mode.backbone, mode.store)
        if with_warehouse:
            roles.append(_warehouse(mode.participants))
        if orders_per_second > 0:
            roles.append(_orders(orders_per_second))
        url = f"http://{host}:{port}"
        if definitions is not None:
            register = RegisterDefinition(
                mode.backbone.registry, mode.backbone.ensure_request_topic
            )
            folder = DefinitionFolder(definitions, register)
            await folder.apply()
            roles.append(Role(name="definitions", run=lambda _, stop: folder.run(stop)))
        if worker is not None:
            script = worker_script()
            run = partial(run_worker, script, worker, url, reload=reload)
            roles.append(Role(name="worker", run=lambda _, stop: run(stop)))
        announce(url, db=str(db))
        addresses = Addresses(host=host, http=port)
        await run_roles(Site.on(mode.backbone, settings), roles, addresses, stop)


def _warehouse(session: ParticipantSession) -> Role:
    """The simulated services."""

    async def run(_: Site, stop: asyncio.Event) -> None:
        runner = ParticipantRunner(
            build_warehouse(), SqliteParticipantTransport(session), SqliteKeyStore(session)
        )
        await runner.run_until(stop)

    return Role(name="warehouse", run=run)


def _orders(per_second: float) -> Role:
    async def run(site: Site, stop: asyncio.Event) -> None:
        await send_orders(site.gateway, per_second, stop)

    return Role(name="orders", run=run)


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

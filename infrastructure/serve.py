"""`conveyor serve`: any set of roles in one process, on Kafka, MongoDB and Redis."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from contextlib import AsyncExitStack
from functools import partial

import structlog
from prometheus_client import CollectorRegistry

from adapters.rest.app import create_app
from application.ports import SetupError
from infrastructure.running import (
    EngineRunner,
    ProcessMonitor,
    announce,
    api_of,
    report_outages,
    run_gateway,
    run_http,
    stop_on_signals,
    until_available,
)
from infrastructure.settings import Settings
from infrastructure.trimming import INBOX_ADVICE, run_trimming, trim_inbox
from infrastructure.wiring import production

log = structlog.get_logger("conveyor")

ROLES = ("engine", "api")
LOOPBACK = ("127.0.0.1", "localhost", "::1")


async def run_serve(
    settings: Settings,
    roles: Sequence[str],
    *,
    host: str = "127.0.0.1",
    port: int = 8080,
    health_port: int | None = None,
    insecure: bool = False,
) -> None:
    """Run the roles until SIGTERM. Raises SetupError for what must not or cannot be served."""
    _check(settings, roles, host, insecure=insecure)
    stop = stop_on_signals()
    async with AsyncExitStack() as stack:
        backbone = await stack.enter_async_context(production(settings))
        metrics = CollectorRegistry()
        engine = EngineRunner(backbone, settings, metrics) if "engine" in roles else None
        monitor = ProcessMonitor(backbone, engine, metrics)
        gateway = backbone.gateway()
        app = create_app(api_of(backbone, gateway, monitor, settings))
        announce(
            f"http://{host}:{port}" if "api" in roles else None,
            roles=list(roles),
            kafka=settings.kafka.bootstrap_servers,
        )
        async with asyncio.TaskGroup() as group:
            if engine is not None:
                group.create_task(_stopping(engine.run(stop), stop))
                interval = settings.kafka.inbox_trim_interval_seconds
                if interval and backbone.inbox_trimmer is not None:
                    trim = partial(trim_inbox, backbone.inbox_trimmer, backbone.projections)
                    trimming = run_trimming(trim, interval, stop, INBOX_ADVICE)
                    group.create_task(_stopping(trimming, stop))
            if "api" in roles:
                group.create_task(until_available(backbone.migrate, stop))
                group.create_task(_stopping(run_gateway(gateway, stop), stop))
                group.create_task(_stopping(run_http(app, host, port, stop), stop))
            group.create_task(_stopping(report_outages(backbone.probes, stop), stop))
            if health_port is not None:
                group.create_task(_stopping(run_http(app, host, health_port, stop), stop))


async def _stopping(part: object, stop: asyncio.Event) -> None:
    """When one part ends, the process does."""
    try:
        await part  # type: ignore[misc]
    finally:
        stop.set()


def _check(settings: Settings, roles: Sequence[str], host: str, *, insecure: bool) -> None:
    unknown = [role for role in roles if role not in ROLES]
    if unknown or not roles:
        raise SetupError(
            f"unknown role {', '.join(unknown) or '(none)'}; this version has {', '.join(ROLES)}"
        )
    if settings.auth.is_configured:
        raise SetupError(
            "CONVEYOR_AUTH__*: logins are not supported by this version; leave them unset and bind to 127.0.0.1"
        )
    if insecure:
        log.warning("serving without a login (--insecure)", host=host)
        return
    if settings.profile == "production":
        raise SetupError(
            "PROFILE=production needs a login, which this version does not have yet; --insecure lifts this"
        )
    refuse_open_host(host, "; --insecure lifts this")


def refuse_open_host(host: str, advice: str = "") -> None:
    """Without a login every mode binds the loopback address (CONTRACT 4). Raises SetupError."""
    if host not in LOOPBACK:
        raise SetupError(f"without a login only 127.0.0.1 may be served, not {host}{advice}")

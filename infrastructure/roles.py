"""The roles that a process may have, in one table for `serve` and `dev`."""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Awaitable, Callable, Coroutine, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from types import MappingProxyType
from typing import Any

from prometheus_client import CollectorRegistry
from starlette.datastructures import Headers

from adapters.identity.api_keys import ApiKeys, KeyFileError
from adapters.rest.api import Api, local_caller
from adapters.rest.app import create_app
from adapters.rest.hosts import Hosts
from adapters.rest.rate import RateLimit
from adapters.rest.routes import API_ROUTES, HEALTH_ROUTES, ROUTES, WORKER_ROUTES, Route
from application.access import Caller
from application.definitions import services_named
from application.gateway import CommandGateway
from application.ports import SetupError
from application.use_cases.control import ControlWorkflow
from application.use_cases.definitions import RegisterDefinition
from application.use_cases.preview import PreviewCommand
from application.use_cases.start import StartWorkflow
from application.workers.desk import WorkerDesk
from infrastructure.health import ProcessMonitor
from infrastructure.probes import report_outages
from infrastructure.running import EngineRunner, run_gateway, run_http, until_available
from infrastructure.settings import Settings, listed
from infrastructure.store_metrics import StoreMetrics
from infrastructure.trimming import run_trimming
from infrastructure.wiring import Backbone


@dataclass(frozen=True, kw_only=True)
class Site:
    """The resources that the roles of one process share."""

    settings: Settings
    backbone: Backbone
    metrics: CollectorRegistry
    engine: EngineRunner
    gateway: CommandGateway
    workers: WorkerDesk

    @staticmethod
    def on(backbone: Backbone, settings: Settings) -> Site:
        """Stores and topics of one run mode, without running parts."""
        metrics = CollectorRegistry()
        return Site(
            settings=settings,
            backbone=backbone,
            metrics=metrics,
            engine=EngineRunner(backbone, settings, metrics),
            gateway=backbone.gateway(),
            workers=WorkerDesk(
                backbone.worker_ports,
                partial(_services_named, backbone),
                backbone.clock,
                settings.instance_id or f"{socket.gethostname()}-{os.getpid()}",
            ),
        )

    def api(self, *, with_engine: bool) -> Api:
        """The REST API's use cases; health is that of a process with or without an engine."""
        reader = self.backbone.reader()
        engine = self.engine if with_engine else None
        api = self.settings.api
        return Api(
            reader=reader,
            start=StartWorkflow(self.gateway, reader, self.backbone.registry),
            control=ControlWorkflow(self.gateway, reader),
            preview=PreviewCommand(self.gateway, reader, self.backbone.clock),
            register=RegisterDefinition(self.backbone.registry, self.backbone.ensure_request_topic),
            definitions=self.backbone.definitions,
            workers=self.workers,
            monitor=ProcessMonitor(self.backbone, engine, self.metrics),
            hosts=Hosts(self._hosts(), listed(api.allowed_origins)),
            identify=self._login(),
            rate=RateLimit(self.settings.api.rate_per_second),
            site_name=self.settings.instance_id,
        )

    def _hosts(self) -> tuple[str, ...]:
        """With a login, a page that reaches the service under another name learns nothing."""
        allowed = listed(self.settings.api.allowed_hosts)
        return allowed or (("*",) if self.settings.auth.is_configured else ())

    def _login(self) -> Callable[[Headers], Caller]:
        """Raises SetupError."""
        file = self.settings.auth.api_keys_file
        if file is None:
            return local_caller
        try:
            return ApiKeys(file).identify
        except KeyFileError as fault:
            raise SetupError(f"CONVEYOR_AUTH__API_KEYS_FILE: {fault}") from fault


async def _services_named(backbone: Backbone) -> frozenset[str]:
    """The services of all definitions. Raises Unavailable."""
    documents = await backbone.definitions.all()
    return frozenset(name for each in documents for name in services_named(each))


@dataclass(frozen=True, slots=True, kw_only=True)
class Role:
    """Work that a process does until it is stopped, together with other roles."""

    name: str
    #: Reached over the port of the process.
    serves_http: bool = False
    #: Ends soon after the event is set. If it ends by itself, so does the process. Raises SetupError.
    run: Callable[[Site, asyncio.Event], Awaitable[None]]


async def _run_engine(site: Site, stop: asyncio.Event) -> None:
    """Run the engine, and trim the topics."""
    async with asyncio.TaskGroup() as group:
        group.create_task(site.engine.run(stop))
        if site.backbone.trimming is not None:
            group.create_task(run_trimming(site.backbone.trimming, stop))


async def _run_api(site: Site, stop: asyncio.Event) -> None:
    """Follow the events for which requests wait. The HTTP server handles the requests."""
    async with asyncio.TaskGroup() as group:
        group.create_task(until_available(site.backbone.migrate, stop))
        group.create_task(run_gateway(site.gateway, stop))


async def _run_workers(site: Site, stop: asyncio.Event) -> None:
    """Keep up what workers take from. The HTTP server handles their requests."""
    await site.workers.run(stop)


ENGINE = Role(name="engine", run=_run_engine)
API = Role(name="api", serves_http=True, run=_run_api)
WORKERS = Role(name="workers", serves_http=True, run=_run_workers)
#: A new role is a new line here.
ROLES: Mapping[str, Role] = MappingProxyType({role.name: role for role in (ENGINE, API, WORKERS)})


def serve_http(roles: Sequence[Role]) -> bool:
    return any(role.serves_http for role in roles)


def _routes_of(roles: Sequence[Role]) -> Sequence[Route]:
    if WORKERS not in roles:
        return API_ROUTES
    return ROUTES if API in roles else WORKER_ROUTES


@dataclass(frozen=True, slots=True, kw_only=True)
class Addresses:
    """The addresses of a process."""

    host: str
    #: Used if a role serves it.
    http: int
    #: Health and metrics only.
    health: int | None = None


async def run_roles(
    site: Site, roles: Sequence[Role], addresses: Addresses, stop: asyncio.Event
) -> None:
    """Run them until `stop` is set. When one part ends, all do. Raises SetupError."""
    api = site.api(with_engine=ENGINE in roles)
    parts: list[Coroutine[Any, Any, None]] = [
        report_outages(site.backbone.probes, stop),
        StoreMetrics(site.backbone.queries, site.metrics).run(stop),
    ]
    if serve_http(roles):
        app = create_app(api, _routes_of(roles))
        parts.append(run_http(app, addresses.host, addresses.http, stop))
    if addresses.health is not None:
        app = create_app(api, HEALTH_ROUTES)
        parts.append(run_http(app, addresses.host, addresses.health, stop))
    async with asyncio.TaskGroup() as group:
        for role in roles:
            group.create_task(_ending_all(role.run(site, stop), stop))
        for part in parts:
            group.create_task(_ending_all(part, stop))


async def _ending_all(part: Awaitable[None], stop: asyncio.Event) -> None:
    try:
        await part
    finally:
        stop.set()

"""Measuring the worker protocol of the embedded mode.

Engine, API and SQLite file live in this process, as in `conveyor dev`; the participant is a worker, one process of
its own, that takes its requests over HTTP. The load is that of the embedded mode.
"""

from __future__ import annotations

import asyncio
import os
import socket
from pathlib import Path

import uvloop

from adapters.rest.app import create_app
from adapters.rest.routes import WORKER_ROUTES
from application.ports import Document
from bench.recipes.children import WORKER, Child
from bench.recipes.embedded_site import Role, embedded_site, engine, folder_on_disk
from bench.recipes.gauges import Gauge
from bench.recipes.load import WARM_UP, Load, Phase
from bench.recipes.options import Options
from bench.recipes.profiles import profiled
from bench.recipes.watch import Watch
from infrastructure.roles import WORKERS, Site
from infrastructure.running import run_http
from infrastructure.settings import Settings
from infrastructure.wiring import Embedded

_HOST = "127.0.0.1"


def run_workers(load: Load, options: Options, settings: Settings) -> tuple[Document, bool]:
    """The report, and whether every workflow ended as it should. Raises BenchError."""
    with folder_on_disk() as folder, profiled(options.profile):
        return uvloop.run(_run(load, options, settings, folder / "bench.db"))


async def _run(
    load: Load, options: Options, settings: Settings, path: Path
) -> tuple[Document, bool]:
    port = _free_port()
    async with embedded_site(path, [engine(settings), _workers(settings, port)]) as site:
        worker = Child(WORKER, {"CONVEYOR_URL": f"http://{_HOST}:{port}"}, _beside(options.profile))
        try:
            watch = Watch([Gauge("engine", os.getpid()), worker.gauge], options)
            warm_up, measured = Phase("warm-", load, WARM_UP), Phase("load-", load)
            await site.drive(warm_up)
            watch.begin()
            await site.drive(measured, watch.tick)
            watch.finish()
            worker.check()
            return watch.report("embedded", load, measured, None), not (
                warm_up.wrong or measured.wrong
            )
        finally:
            await asyncio.to_thread(worker.stop)


def _workers(settings: Settings, port: int) -> Role:
    async def run(mode: Embedded, stop: asyncio.Event) -> None:
        site = Site.on(mode.backbone, settings)
        app = create_app(site.api(with_engine=False), WORKER_ROUTES)
        await asyncio.gather(WORKERS.run(site, stop), run_http(app, _HOST, port, stop))

    return run


def _beside(profile: Path | None) -> Path | None:
    return None if profile is None else profile.with_suffix(f".worker{profile.suffix}")


def _free_port() -> int:
    with socket.create_server((_HOST, 0)) as server:
        return server.getsockname()[1]

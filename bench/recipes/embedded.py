"""Measuring the embedded mode.

Engine, participant and SQLite file live in one process, as in `conveyor dev`, and that process is
this one. The load comes from a light client in the same process, which writes start commands to the embedded
topic, in groups, and reads the ends from the events topic. So the one process of the report,
`engine`, is all of these; `dev`'s HTTP server is not in it.
"""

from __future__ import annotations

import os
from collections.abc import Sequence
from pathlib import Path

import uvloop

from application.ports import Document
from bench.recipes.embedded_ceiling import EmbeddedCopies
from bench.recipes.embedded_site import (
    EmbeddedSite,
    Role,
    embedded_site,
    engine,
    folder_on_disk,
    participant,
)
from bench.recipes.errors import BenchError
from bench.recipes.flushes import counting_flushes
from bench.recipes.gauges import Gauge
from bench.recipes.growth import grow
from bench.recipes.load import WARM_UP, Load, Phase
from bench.recipes.options import Options
from bench.recipes.profiles import profiled
from bench.recipes.saga import record_saga
from bench.recipes.watch import Watch
from infrastructure.settings import Settings

#: Ids begin with one of these, all equally long.
_WARM_UP, _MEASURED, _TRACED = "warm-", "load-", "flux-"


def run_embedded(load: Load, options: Options, settings: Settings) -> tuple[Document, bool]:
    """The report, and whether every workflow ended as it should. Raises BenchError."""
    with folder_on_disk() as folder, profiled(options.profile):
        roles = [engine(settings), participant]
        return uvloop.run(_run(load, options, roles, folder / "bench.db"))


def ceiling_embedded(load: Load, options: Options, settings: Settings) -> tuple[Document, bool]:
    """The same without an engine: what it would write is prepared. Raises BenchError."""
    saga = record_saga(_MEASURED, settings)
    phases = {_WARM_UP: WARM_UP, _MEASURED: load.workflows}
    if options.flushes:
        phases[_TRACED] = load.workflows
    copies = EmbeddedCopies(saga, phases)
    with folder_on_disk() as folder, profiled(options.profile):
        roles = [copies.run_engine, copies.run_participant]
        return uvloop.run(_run(load, options, roles, folder / "bench.db"))


def grow_embedded(
    sizes: Sequence[int], options: Options, settings: Settings
) -> tuple[Document, bool]:
    """Speed, memory and file size at these numbers of stored workflows. Raises BenchError."""

    def stored_bytes() -> int:
        return sum(file.stat().st_size for file in folder.iterdir())

    async def run() -> tuple[Document, bool]:
        async with embedded_site(folder / "bench.db", [engine(settings), participant]) as site:
            gauge = Gauge("engine", os.getpid())
            return await grow("embedded", sizes, site.drive, gauge, stored_bytes, options)

    with folder_on_disk() as folder:
        return uvloop.run(run())


async def _run(
    load: Load, options: Options, roles: Sequence[Role], path: Path
) -> tuple[Document, bool]:
    async with embedded_site(path, roles) as site:
        watch = Watch([Gauge("engine", os.getpid())], options)
        warm_up, measured = Phase(_WARM_UP, load, WARM_UP), Phase(_MEASURED, load)
        await site.drive(warm_up)
        watch.begin()
        await site.drive(measured, watch.tick)
        watch.finish()
        flushes = await _flushes_per_saga(site, load, options) if options.flushes else None
        report = watch.report("embedded", load, measured, flushes)
        return report, not (warm_up.wrong or measured.wrong)


async def _flushes_per_saga(site: EmbeddedSite, load: Load, options: Options) -> float | None:
    traced = Phase(_TRACED, load)
    try:
        with counting_flushes([os.getpid()]) as count:
            await site.drive(traced)
    except BenchError as error:
        options.warn(f"flushes are not counted: {error}")
        return None
    return count.flushes / traced.workflows

"""Measuring the Kafka mode, on the servers of the settings.

The processes of the report are the engine, the participant, and those of Kafka, MongoDB and Redis
that run on this machine; the client, which is this process, is none of them.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from pymongo import MongoClient

from application.ports import Document
from bench.recipes.children import ENGINE, PARTICIPANT
from bench.recipes.errors import BenchError
from bench.recipes.flushes import counting_flushes
from bench.recipes.growth import grow
from bench.recipes.kafka_run import KafkaRun, kafka_run
from bench.recipes.load import WARM_UP, Load, Phase
from bench.recipes.options import Options
from bench.recipes.recovery import Recovery, opening, patient_definition
from bench.recipes.watch import Watch
from infrastructure.settings import Settings
from infrastructure.wiring import production


def run_kafka(load: Load, options: Options, settings: Settings) -> tuple[Document, bool]:
    """The report, and whether every workflow ended as it should.

    Raises ServersAwayError before anything is begun, BenchError. Topics, groups, database and keys
    of the run are removed however it ends.
    """
    with kafka_run(settings, options) as run:
        _start_both(run, options.profile)
        return _measure(run, load, options)


def ceiling_kafka(load: Load, options: Options, settings: Settings) -> tuple[Document, bool]:
    """The same without an engine and a participant: what they would write is prepared."""
    with kafka_run(settings, options) as run:
        phases = {run.prefix("w"): WARM_UP, run.prefix("b"): load.workflows}
        if options.flushes:
            phases[run.prefix("t")] = load.workflows
        _start_both(run, options.profile, phases)
        return _measure(run, load, options)


def grow_kafka(sizes: Sequence[int], options: Options, settings: Settings) -> tuple[Document, bool]:
    """Speed, memory and the database's size at these numbers of stored workflows."""
    with kafka_run(settings, options) as run:
        _start_both(run)
        client = run.client(in_flight=1)

        async def drive(phase: Phase, tick: Callable[[Phase], None] | None) -> None:
            client.drive(phase, tick)

        def stored_bytes() -> int:
            section = run.settings.mongodb
            with MongoClient[Document](section.uri) as mongo:
                statistics = mongo[section.database].command("dbStats")
            return int(statistics["storageSize"])

        gauge = run.gauges()[0]
        return asyncio.run(
            grow("kafka", sizes, drive, gauge, stored_bytes, options, run.prefix(""))
        )


def recover_kafka(workflows: int, options: Options, settings: Settings) -> tuple[Document, bool]:
    """Memory of open workflows, and the time after kill -9.

    Without `CONVEYOR_INSTANCE_ID` the killed engine's partitions are free after the session time-out;
    with it the new engine is the same member of the group and has them at once.
    """
    with kafka_run(settings, options) as run:
        asyncio.run(_register_patient(run.settings))
        run.start(ENGINE)
        client = run.client(in_flight=workflows)
        client.drive(opening(run.prefix("w"), WARM_UP))
        gauge = run.gauges()[0]
        before = gauge.rss_mib()
        started = opening(run.prefix("o"), workflows)
        client.drive(started, lambda phase: options.progress(phase.ended, workflows))
        rss_open = gauge.rss_mib()
        run.kill(ENGINE)
        killed_at = time.perf_counter()
        run.start(ENGINE)
        client.drive(opening(run.prefix("p"), 1))
        first = time.perf_counter()
        run.start(PARTICIPANT)
        completing = started.left_open()
        client.drive(completing)
        recovery = Recovery(
            mode="kafka",
            open_instances=workflows,
            rss_mib_before=before,
            rss_mib_open=rss_open,
            first_decision=first - killed_at,
            all_completed=time.perf_counter() - killed_at,
        )
        return recovery.report(), completing.wrong == 0


async def _register_patient(settings: Settings) -> None:
    async with production(settings) as backbone:
        await backbone.registry.register(patient_definition())


def _start_both(
    run: KafkaRun, profile: Path | None = None, copies: Mapping[str, int] | None = None
) -> None:
    """Engine and participant, or with `copies` what stands for them."""
    run.start(ENGINE, profile, copies)
    of_participant = profile and profile.with_name(f"{profile.name}.{PARTICIPANT}")
    run.start(PARTICIPANT, of_participant, copies)


def _measure(run: KafkaRun, load: Load, options: Options) -> tuple[Document, bool]:
    watch = Watch(run.gauges(), options)
    warm_up, measured = Phase(run.prefix("w"), load, WARM_UP), Phase(run.prefix("b"), load)
    client = run.client(load.in_flight)
    client.drive(warm_up)
    watch.begin()
    client.drive(measured, watch.tick)
    watch.finish()
    flushes = None
    if options.flushes:
        traced = Phase(run.prefix("t"), load)
        try:
            with counting_flushes([gauge.pid for gauge in watch.gauges]) as count:
                client.drive(traced)
            flushes = count.flushes / traced.workflows
        except BenchError as error:
            options.warn(f"flushes are not counted: {error}")
    return watch.report("kafka", load, measured, flushes), not (warm_up.wrong or measured.wrong)

"""Measuring the Kafka mode, on the servers of the settings.

The processes of the report are the engine, the participant, and those of Kafka, MongoDB and Redis
that run on this machine; the client, which is this process, is none of them.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator, Sequence
from contextlib import ExitStack, contextmanager
from urllib.parse import urlsplit

from application.ports import Document
from infrastructure.bench.children import ENGINE, PARTICIPANT, Child
from infrastructure.bench.errors import BenchError, ServersAwayError
from infrastructure.bench.flushes import counting_flushes
from infrastructure.bench.gauges import Gauge, listening_pid
from infrastructure.bench.kafka_client import KafkaClient
from infrastructure.bench.kafka_site import KafkaSite
from infrastructure.bench.load import WARM_UP, Load, Phase
from infrastructure.bench.options import Options
from infrastructure.bench.watch import Watch
from infrastructure.initialise import run_init
from infrastructure.settings import Settings
from infrastructure.wiring import Probe, kafka_settings, production

_PARTITIONS = 12
_PROBE_SECONDS = 5.0
#: Probes by the name that a server has in the report.
_SERVERS = {"kafka": "Kafka", "eventStore": "MongoDB", "redis": "Redis"}


def run_kafka(load: Load, options: Options, settings: Settings) -> tuple[Document, bool]:
    """The report, and whether every workflow ended as it should.

    Raises ServersAwayError before anything is begun, BenchError. Topics, groups, database and keys
    of the run are removed however it ends.
    """
    asyncio.run(_refuse_without_servers(settings))
    site = KafkaSite(settings)
    children: list[Child] = []
    try:
        asyncio.run(run_init(site.settings, _PARTITIONS, insecure=True))
        for role in (ENGINE, PARTICIPANT):
            profile = options.profile
            if profile is not None and role == PARTICIPANT:
                profile = profile.with_name(f"{profile.name}.{role}")
            children.append(Child(role, site.environment, profile))
        return _measure(site, children, load, options)
    finally:
        with _uninterrupted():
            for child in children:
                log = child.stop()
                if log:
                    options.warn(f"the {child.role} wrote:\n{log}")
            for sentence in site.remove():
                options.warn(sentence)


def _measure(
    site: KafkaSite, children: Sequence[Child], load: Load, options: Options
) -> tuple[Document, bool]:
    def check() -> None:
        for child in children:
            child.check()

    watch = Watch([*(child.gauge for child in children), *_servers(site.settings)], options)
    warm_up = Phase(f"{site.id_prefix}w", load, WARM_UP)
    measured = Phase(site.id_prefix, load)
    with ExitStack() as stack:
        client = KafkaClient(kafka_settings(site.settings), _PARTITIONS, load.in_flight, check)
        stack.callback(client.close)
        client.drive(warm_up)
        watch.begin()
        client.drive(measured, watch.tick)
        watch.finish()
        flushes = None
        if options.flushes:
            traced = Phase(f"{site.id_prefix}t", load)
            flushes = _flushes_per_saga(client, traced, watch.gauges, options)
    return watch.report("kafka", load, measured, flushes), not (warm_up.wrong or measured.wrong)


def _flushes_per_saga(
    client: KafkaClient, traced: Phase, gauges: Sequence[Gauge], options: Options
) -> float | None:
    try:
        with counting_flushes([gauge.pid for gauge in gauges]) as count:
            client.drive(traced)
    except BenchError as error:
        options.warn(f"flushes are not counted: {error}")
        return None
    return count.flushes / traced.workflows


def _servers(settings: Settings) -> list[Gauge]:
    """Those of the servers that run here."""
    addresses = {
        "kafka": f"kafka://{settings.kafka.bootstrap_servers}",
        "mongodb": settings.mongodb.uri,
        "redis": settings.redis.url,
    }
    if not settings.redis.enabled:
        del addresses["redis"]
    gauges: list[Gauge] = []
    for name, address in addresses.items():
        # Of several servers the first: they all run here, or none of them does.
        place = urlsplit(address.partition(",")[0])
        pid = listening_pid(place.hostname or "", place.port or 0)
        if pid is not None:
            gauges.append(Gauge(name, pid))
    return gauges


async def _refuse_without_servers(settings: Settings) -> None:
    async with production(settings) as backbone:
        problems = await asyncio.gather(*(_problem(each) for each in backbone.probes.values()))
        away = [
            f"{_SERVERS[name]} does not answer ({problem})"
            for name, problem in zip(backbone.probes, problems, strict=True)
            if problem is not None
        ]
    if away:
        raise ServersAwayError(
            "; ".join(away) + ". Start the servers with `make services` and set what it prints,"
            " or measure `--mode embedded`"
        )


async def _problem(probe: Probe) -> str | None:
    try:
        return await asyncio.wait_for(probe(), _PROBE_SECONDS)
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS:g} s"


@contextmanager
def _uninterrupted() -> Generator[None]:
    """A second Ctrl-C must not interrupt the cleaning up."""
    numbers = (signal.SIGINT, signal.SIGTERM)
    before = {number: signal.signal(number, signal.SIG_IGN) for number in numbers}
    try:
        yield
    finally:
        for number, handler in before.items():
            signal.signal(number, handler)

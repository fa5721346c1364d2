"""One run on Kafka, MongoDB and Redis: its site, its processes and its client, all gone in the end."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Generator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from urllib.parse import urlsplit

from bench.recipes.children import Child
from bench.recipes.errors import ServersAwayError
from bench.recipes.gauges import Gauge, listening_pid
from bench.recipes.kafka_client import KafkaClient
from bench.recipes.kafka_site import KafkaSite
from bench.recipes.options import Options
from infrastructure.initialise import run_init
from infrastructure.settings import Settings
from infrastructure.wiring import Probe, kafka_settings, production

#: Enough for one engine on a small machine. Every active partition costs the broker a batch per topic. With 12, the
#: default of `init` for a cluster, the broker takes more than twice the CPU per saga.
_PARTITIONS = 4
_PROBE_SECONDS = 5.0
#: Probes by the name that a server has in the report.
_SERVERS = {"kafka": "Kafka", "eventStore": "MongoDB", "redis": "Redis"}


class KafkaRun:
    """Processes of its own on a site of its own."""

    def __init__(self, site: KafkaSite, stack: ExitStack) -> None:
        self._site = site
        self._stack = stack
        self.children: dict[str, Child] = {}

    @property
    def settings(self) -> Settings:
        return self._site.settings

    def prefix(self, phase: str) -> str:
        """The prefix of a phase's ids."""
        return f"{self._site.id_prefix}{phase}"

    def start(
        self, role: str, profile: Path | None = None, copies: Mapping[str, int] | None = None
    ) -> None:
        """Start the role's process."""
        self.children[role] = Child(role, self._site.environment, profile, copies)

    def kill(self, role: str) -> None:
        """End the role's process without warning."""
        child = self.children.pop(role)
        child.kill()
        child.stop()

    def client(self, in_flight: int) -> KafkaClient:
        client = KafkaClient(kafka_settings(self.settings), _PARTITIONS, in_flight, self._check)
        self._stack.callback(client.close)
        return client

    def gauges(self) -> list[Gauge]:
        """Of the processes in the order of their start, then of the servers that run here."""
        return [*(child.gauge for child in self.children.values()), *_servers(self.settings)]

    def _check(self) -> None:
        for child in self.children.values():
            child.check()


@contextmanager
def kafka_run(settings: Settings, options: Options) -> Generator[KafkaRun]:
    """Raises ServersAwayError before anything is begun. Everything is removed, however it ends."""
    asyncio.run(_refuse_without_servers(settings))
    site = KafkaSite(settings)
    run: KafkaRun | None = None
    try:
        asyncio.run(run_init(site.settings, _PARTITIONS, insecure=True))
        with ExitStack() as stack:
            run = KafkaRun(site, stack)
            yield run
    finally:
        with _uninterrupted():
            for child in run.children.values() if run is not None else ():
                log = child.stop()
                if log:
                    options.warn(f"the {child.role} wrote:\n{log}")
            for sentence in site.remove():
                options.warn(sentence)


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

"""A site with each role in processes of its own, which tests kill, freeze and start again."""

from __future__ import annotations

import signal
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from dataclasses import dataclass
from pathlib import Path
from random import Random
from typing import Self

import httpx

from deploy.local_services.process import free_port
from tests.acceptance.courses import Courses
from tests.acceptance.programs import Program, is_ready, running, until
from tests.acceptance.sites import EVENTS, PARTITIONS, Site
from tests.faults import servers
from tests.faults.checks import folds, violations
from tests.faults.evidence import Evidence, of_site
from tests.faults.load import Load
from tests.faults.servers import Server
from tests.faults.tally import Fault, Tally
from tests.faults.verification import findings

#: The events topic is read to its end before it is compared with the log.
_SETTLE_SECONDS = 30.0
#: Makes SIGABRT write the stack of every thread to the log.
_TELLS_WHERE_IT_IS = {"PYTHONFAULTHANDLER": "1"}
_LAST_WORDS = 5_000
_LAST_WORDS_SECONDS = 20.0


@dataclass(frozen=True, slots=True)
class Servers:
    """What a site stands on."""

    kafka: Server
    mongo: Server
    redis: Server

    @property
    def named(self) -> Mapping[str, Server]:
        """By their names in reports."""
        return {"broker": self.kafka, "document store": self.mongo, "redis": self.redis}

    @classmethod
    def started(cls, stack: ExitStack, folder: Path, mongo: Server) -> Self:
        """With this document store; all of them stop with the stack."""
        stack.callback(mongo.stop)
        kafka = servers.kafka(folder / "kafka")
        stack.callback(kafka.stop)
        redis = servers.redis(folder / "redis")
        stack.callback(redis.stop)
        return cls(kafka, mongo, redis)


@dataclass(slots=True)
class Process:
    """One role; the same name, port and settings however often it is started."""

    name: str
    arguments: tuple[str, ...]
    url: str | None
    settings: Mapping[str, str]
    program: Program

    @property
    def role(self) -> str:
        """What it is counted as: the first word of its name."""
        return self.name.partition("-")[0]

    def freeze(self) -> None:
        self.program.process.send_signal(signal.SIGSTOP)

    def thaw(self) -> None:
        self.program.process.send_signal(signal.SIGCONT)

    def last_words(self) -> str:
        """The end of its log; one that lives is ended and tells where its threads are."""
        process = self.program.process
        code = process.poll()
        if code is None:
            process.send_signal(signal.SIGCONT)
            process.send_signal(signal.SIGABRT)
            process.wait(_LAST_WORDS_SECONDS)
        state = "lived" if code is None else f"had ended with {code}"
        return f"{state}\n{self.program.log[-_LAST_WORDS:]}"

    def partitions(self) -> int:
        """How many it has; an engine only."""
        health = httpx.get(f"{self.url}/health/workflow", timeout=10).json()
        count: int = health["components"]["engine"]["partitions"]
        return count

    def counted(self, what: str) -> float:
        """`workflow_engine_events_total` of one sort; an engine only."""
        for line in httpx.get(f"{self.url}/metrics", timeout=10).text.splitlines():
            if line.startswith(f'workflow_engine_events_total{{what="{what}"}}'):
                return float(line.rpartition(" ")[2])
        return 0.0


class Plant:
    """The processes of one site, their load and the counts of the test."""

    def __init__(self, site: Site, stack: ExitStack, rng: Random, tally: Tally) -> None:
        self.site = site
        self.rng = rng
        self.tally = tally
        self._stack = stack
        self._processes: list[Process] = []
        self.courses = Courses(stack.enter_context(closing(site.reader(EVENTS))))
        self.load = Load(site, self.courses, rng, self._last_words)

    def engine(self, name: str, **settings: str) -> Process:
        """`serve --roles engine`, ready."""
        port = free_port()
        return self._ready(
            name, ("serve", "--roles", "engine", "--health-port", str(port)), port, settings
        )

    def api(self, name: str, **settings: str) -> Process:
        """`serve --roles api`, ready."""
        port = free_port()
        return self._ready(name, ("serve", "--roles", "api", "--port", str(port)), port, settings)

    def warehouse(self, name: str = "warehouse", **settings: str) -> Process:
        """`conveyor warehouse`; all of a site share one journal."""
        arguments = ("warehouse", "--journal", str(self.site.journal_file))
        return self._process(name, arguments, None, settings)

    def again(self, process: Process) -> None:
        """Start a role that was killed."""
        process.program = self._start(process.name, process.arguments, process.settings)
        self._until_ready(process)

    def kill(self, process: Process) -> None:
        """SIGKILL."""
        process.program.kill()
        self.tally.add(Fault.KILL, process.role)

    @contextmanager
    def frozen(self, process: Process) -> Generator[None]:
        """SIGSTOP, then SIGCONT."""
        self.tally.add(Fault.FREEZE, process.role)
        process.freeze()
        try:
            yield
        finally:
            process.thaw()

    def expect_no_violations(self) -> Evidence:
        """Let the projections settle; count what there is; fail on any violation."""
        evidence = self._settled()
        found = [
            *self.courses.gaps,
            *violations(evidence, self.load.orders),
            *findings(self.site.folder, self.site.settings),
        ]
        for instance in folds(evidence).values():
            self.tally.ends[str(instance.status)] += 1
            self.tally.events += instance.version
        self.tally.effects += len(evidence.effects)
        self.tally.violations += len(found)
        assert not found, "\n".join(map(str, found))
        return evidence

    def _last_words(self) -> str:
        """Whether each process lives, what it has logged last and, by ending it, where its threads are."""
        return "".join(f"\n-- {each.name}: {each.last_words()}" for each in self._processes)

    def _settled(self) -> Evidence:
        """The projections follow within a second; replies that came late are recorded after the end."""
        last: list[Evidence] = []

        def look() -> bool:
            self.courses.read()
            last[:] = [of_site(self.site, self.courses.records)]
            return violations(last[0], self.load.orders) == []

        try:
            until("a site without violations", look, _SETTLE_SECONDS)
        except AssertionError:
            return last[0]  # with its violations, which the caller counts and shows
        return last[0]

    def _ready(
        self, name: str, arguments: tuple[str, ...], port: int, settings: Mapping[str, str]
    ) -> Process:
        return self._process(name, arguments, f"http://127.0.0.1:{port}", settings)

    def _process(
        self, name: str, arguments: tuple[str, ...], url: str | None, settings: Mapping[str, str]
    ) -> Process:
        program = self._start(name, arguments, settings)
        process = Process(name, arguments, url, settings, program)
        self._processes.append(process)
        self._until_ready(process)
        return process

    def _start(self, name: str, arguments: tuple[str, ...], settings: Mapping[str, str]) -> Program:
        return self._stack.enter_context(
            running(
                name,
                *arguments,
                folder=self.site.folder,
                settings={**self.site.settings, **settings, **_TELLS_WHERE_IT_IS},
            )
        )

    def _until_ready(self, process: Process) -> None:
        url = process.url
        if url is not None:
            until(f"{process.name} is ready", lambda: is_ready(url), 60, [process.program])


@contextmanager
def plant(servers: Servers, folder: Path, rng: Random, tally: Tally) -> Generator[Plant]:
    """An initialised site on these servers without processes yet; all are gone in the end."""
    site = Site(servers.kafka.address, servers.mongo.address, servers.redis.address, folder)
    with ExitStack() as stack:
        stack.callback(site.close)
        site.initialise()
        site.journal_file.touch()
        # Processes go before the site's topics do.
        with ExitStack() as processes:
            yield Plant(site, processes, rng, tally)


def all_partitions(engine: Process) -> bool:
    """Whether the engine has everything."""
    return engine.partitions() == PARTITIONS

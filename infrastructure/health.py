"""The health of a process: the document of CONTRACT 6, metrics, and log lines about servers that go away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping, Sequence

import structlog
from conveyor.topics import step_requests
from prometheus_client import CollectorRegistry, generate_latest

from application.definitions import services_named
from application.ports import (
    Clock,
    Document,
    RequestReaders,
    Unavailable,
    WorkflowDefinitionRepository,
)
from infrastructure.running import EngineRunner
from infrastructure.version import VERSION
from infrastructure.wiring import Backbone, Probe

log = structlog.get_logger("conveyor")

_PROBE_SECONDS = 3.0
#: How often the servers are looked at for the log.
_WATCH_SECONDS = 5.0
#: How often it is asked who reads the requests of services.
_ASK_AGAIN_SECONDS = 5.0
_UNREAD = "nobody has ever read its requests: start a participant for it, or correct its name in the definition"


class ServiceHealth:
    """The health of the services that definitions name. It asks seldom, so health may be polled often."""

    def __init__(
        self,
        definitions: WorkflowDefinitionRepository,
        readers: RequestReaders,
        clock: Clock,
    ) -> None:
        self._definitions = definitions
        self._readers = readers
        self._clock = clock
        self._services: Sequence[str] = ()
        #: None as long as it is not known.
        self._read: frozenset[str] | None = None
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    async def document(self, held_topics: Mapping[str, str]) -> Document:
        """Every service by its name. `held_topics`: those that refuse messages, and why."""
        await self._ask_again()
        return {
            service: {
                **self._status(service, held_topics.get(step_requests(service))),
                # This version has no breakers and no load.
                "circuitBreaker": None,
                "loadScore": None,
            }
            for service in self._services
        }

    def _status(self, service: str, held: str | None) -> Document:
        if held is not None:
            return {"status": "DEGRADED", "detail": held}
        if self._read is None:
            return {"status": "UNKNOWN", "detail": "not known yet who reads its requests"}
        if service not in self._read:
            return {"status": "UNREAD", "detail": _UNREAD}
        return {"status": "HEALTHY", "detail": None}

    async def _ask_again(self) -> None:
        """If it is time. A caller that comes meanwhile waits for the same answer, but not for long."""
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= _ASK_AGAIN_SECONDS:
            self._asked_at = now
            if self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._ask())
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=_PROBE_SECONDS)

    async def _ask(self) -> None:
        try:
            documents = await self._definitions.all()
            self._services = sorted({s for each in documents for s in services_named(each)})
            self._read = await self._readers.ever_read(self._services)
        except Unavailable as away:
            # The component's own probe reports it; what was known stays.
            log.debug("services are not known", component=away.component, detail=away.detail)


class ProcessMonitor:
    """The health document of CONTRACT 6 and the metrics, for one process."""

    version = VERSION

    def __init__(
        self, backbone: Backbone, engine: EngineRunner | None, metrics: CollectorRegistry
    ) -> None:
        self._backbone = backbone
        self._engine = engine
        self._metrics = metrics
        self._services = ServiceHealth(
            backbone.definitions, backbone.request_readers, backbone.clock
        )

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._metrics)

    async def document(self) -> Document:
        components, services = await asyncio.gather(
            self._components(), self._services.document(self._held_topics())
        )
        return {
            "status": _overall(components),
            "version": VERSION,
            "components": components,
            "services": services,
        }

    def _held_topics(self) -> Mapping[str, str]:
        processor = self._engine.processor if self._engine is not None else None
        return processor.health.held_topics if processor is not None else {}

    async def _components(self) -> dict[str, Document]:
        problems = await ask_all(self._backbone.probes)
        components: dict[str, Document] = {
            name: {"status": "DOWN" if problem else "UP", "detail": problem}
            for name, problem in problems.items()
        }
        if self._engine is not None:
            components["engine"] = self._engine_component(self._engine)
        return components

    def _engine_component(self, engine: EngineRunner) -> Document:
        processor = engine.processor
        if processor is None or not processor.health.running:
            return {"status": "DOWN", "detail": "starting", "partitions": 0, "lag": None}
        inbox = processor.ports.inbox
        troubles = dict(processor.health.troubles)
        if inbox.problem is not None:
            troubles["kafka"] = inbox.problem
        #: Everything else goes on.
        parts = {f"topic {name}": text for name, text in processor.health.held_topics.items()}
        parts |= {f"partition {number}": text for number, text in inbox.stopped.items()}
        status = "DOWN" if troubles.keys() - {"redis"} else "DEGRADED" if parts else "UP"
        detail = "; ".join(f"{name}: {text}" for name, text in (troubles | parts).items()) or None
        return {
            "status": status,
            "detail": detail,
            "partitions": len(processor.partitions),
            "lag": inbox.lag,
        }

    async def is_ready(self) -> bool:
        """Stores answer and, with an engine here, it has partitions or the group has settled without it."""
        settled = self._engine is None or self._engine.has_settled
        return settled and _overall(await self._components()) != "DOWN"


async def report_outages(probes: Mapping[str, Probe], stop: asyncio.Event) -> None:
    """A log line when a server goes away and one when it is back."""
    down: dict[str, str] = {}
    while not stop.is_set():
        problems = await ask_all(probes)
        away = {name: problem for name, problem in problems.items() if problem is not None}
        for name in sorted(away.keys() - down.keys()):
            log.warning("a component is down", component=name, detail=away[name])
        for name in sorted(down.keys() - away.keys()):
            log.info("a component is back", component=name)
        down = away
        with contextlib.suppress(TimeoutError):
            await asyncio.wait_for(stop.wait(), _WATCH_SECONDS)


async def ask_all(probes: Mapping[str, Probe]) -> dict[str, str | None]:
    """The problem of each component, None for those that are well."""
    problems = await asyncio.gather(*(_ask(probe) for probe in probes.values()))
    return dict(zip(probes, problems, strict=True))


async def _ask(probe: Probe) -> str | None:
    try:
        return await asyncio.wait_for(probe(), _PROBE_SECONDS)
    except TimeoutError:
        return f"no answer within {_PROBE_SECONDS:g} s"


def _overall(components: dict[str, Document]) -> str:
    """Without Redis the service is slower to read, not wrong."""
    bad = {n: each["status"] for n, each in components.items() if each["status"] != "UP"}
    if any(status == "DOWN" for name, status in bad.items() if name != "redis"):
        return "DOWN"
    return "DEGRADED" if bad else "UP"

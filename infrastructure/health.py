"""How a process is: the health document of CONTRACT 6, metrics, and log lines about servers that go away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import structlog
from prometheus_client import CollectorRegistry, generate_latest

from application.ports import Document
from infrastructure.running import EngineRunner
from infrastructure.version import VERSION
from infrastructure.wiring import Backbone, Probe

log = structlog.get_logger("conveyor")

_PROBE_SECONDS = 3.0
#: How often the servers are looked at for the log.
_WATCH_SECONDS = 5.0


class ProcessMonitor:
    """The health document of CONTRACT 6 and the metrics, for one process."""

    version = VERSION

    def __init__(
        self, backbone: Backbone, engine: EngineRunner | None, metrics: CollectorRegistry
    ) -> None:
        self._backbone = backbone
        self._engine = engine
        self._metrics = metrics

    def metrics(self) -> bytes:
        """In Prometheus' text format."""
        return generate_latest(self._metrics)

    async def document(self) -> Document:
        problems = await ask_all(self._backbone.probes)
        components: dict[str, Document] = {
            name: {"status": "DOWN" if problem else "UP", "detail": problem}
            for name, problem in problems.items()
        }
        if self._engine is not None:
            components["engine"] = self._engine_component(self._engine)
        return {
            "status": _overall(components),
            "version": VERSION,
            "components": components,
            "services": {},
        }

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
            "lag": None,
        }

    async def is_ready(self) -> bool:
        """Stores answer and, with an engine here, it has partitions or the group has settled without it."""
        document = await self.document()
        settled = self._engine is None or self._engine.has_settled
        return document["status"] != "DOWN" and settled


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

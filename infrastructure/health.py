"""The health of a process: the document of CONTRACT 6, whether it is ready, and its metrics."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

from prometheus_client import CollectorRegistry, generate_latest

from application.ports import Document
from infrastructure.probes import ask_all
from infrastructure.running import EngineRunner
from infrastructure.service_health import ServiceHealth
from infrastructure.version import VERSION
from infrastructure.wiring import Backbone


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

    async def warnings(self, services: Collection[str]) -> Sequence[str]:
        return await self._services.warnings(services)

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


def _overall(components: dict[str, Document]) -> str:
    """Without Redis the service is slower to read, not wrong."""
    bad = {n: each["status"] for n, each in components.items() if each["status"] != "UP"}
    if any(status == "DOWN" for name, status in bad.items() if name != "redis"):
        return "DOWN"
    return "DEGRADED" if bad else "UP"

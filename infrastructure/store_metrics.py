"""Metrics of what the stores hold. They are counted every few seconds, so a scrape costs the stores nothing."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Iterator

import structlog
from prometheus_client import CollectorRegistry, Metric
from prometheus_client.core import GaugeMetricFamily
from prometheus_client.registry import Collector

from application.ports import Unavailable, WorkflowQueries

log = structlog.get_logger("conveyor")

_COUNT_EVERY_SECONDS = 5.0
_COUNT_SECONDS = 3.0


class StoreMetrics(Collector):
    """Numbers over all workflows, the same in every process of an installation."""

    def __init__(self, queries: WorkflowQueries, registry: CollectorRegistry) -> None:
        self._queries = queries
        self._open_incidents: int | None = None
        registry.register(self)

    def collect(self) -> Iterator[Metric]:
        """Unknown numbers are omitted."""
        if self._open_incidents is not None:
            yield GaugeMetricFamily(
                "conveyor_incidents_open", "Incidents that are open", self._open_incidents
            )

    async def count(self) -> None:
        """Count once. What cannot be counted now is unknown until the next time."""
        try:
            async with asyncio.timeout(_COUNT_SECONDS):
                self._open_incidents = await self._queries.open_incidents()
        except (Unavailable, TimeoutError) as away:
            # The component's own probe reports it.
            self._open_incidents = None
            log.debug("open incidents are not counted", detail=str(away))

    async def run(self, stop: asyncio.Event) -> None:
        """Count every few seconds until `stop` is set."""
        while not stop.is_set():
            await self.count()
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(stop.wait(), _COUNT_EVERY_SECONDS)

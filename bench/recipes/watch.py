"""The clock and the gauges of a run, and the report that they make."""

from __future__ import annotations

import time
from collections.abc import Sequence
from dataclasses import dataclass, field

from application.ports import Document
from bench.recipes.gauges import Gauge
from bench.recipes.load import STEPS, Ending, Load, Phase
from bench.recipes.options import Options


@dataclass(slots=True)
class Watch:
    """Looks at processes while a phase runs. The first gauge is the engine's."""

    gauges: Sequence[Gauge]
    options: Options
    _began: float = 0.0
    _wall_seconds: float = 0.0
    _cpu_before: list[float] = field(default_factory=list[float])
    _cpu_seconds: list[float] = field(default_factory=list[float])
    _rss_mib: list[float] = field(default_factory=list[float])
    _rss_at: list[tuple[int, float]] = field(default_factory=list[tuple[int, float]])

    def begin(self) -> None:
        """The first start command is about to be written."""
        self._cpu_before = [gauge.cpu_seconds() for gauge in self.gauges]
        self._began = time.perf_counter()

    def tick(self, phase: Phase) -> None:
        """Some workflows have ended."""
        noted = len(self._rss_at)
        wanted = self.options.rss_at
        if noted < len(wanted) and phase.ended >= wanted[noted]:
            self._rss_at.append((wanted[noted], self.gauges[0].rss_mib()))
        self.options.progress(phase.ended, phase.workflows)

    def finish(self) -> None:
        """The last end was read."""
        self._wall_seconds = time.perf_counter() - self._began
        self._cpu_seconds = [
            gauge.cpu_seconds() - before
            for gauge, before in zip(self.gauges, self._cpu_before, strict=True)
        ]
        self._rss_mib = [gauge.rss_mib() for gauge in self.gauges]

    def report(
        self, mode: str, load: Load, phase: Phase, flushes_per_saga: float | None
    ) -> Document:
        """The JSON of CONTRACT 6."""
        cpu_seconds = sum(self._cpu_seconds)
        return {
            "mode": mode,
            "workflows": load.workflows,
            "inFlight": load.in_flight,
            "steps": STEPS,
            "compensateShare": load.compensate_share,
            "sagasPerSecond": round(load.workflows / self._wall_seconds, 1),
            "p50Ms": round(phase.percentile_ms(0.50), 2),
            "p99Ms": round(phase.percentile_ms(0.99), 2),
            "completed": phase.endings[Ending.COMPLETED],
            "compensated": phase.endings[Ending.COMPENSATED],
            "failed": phase.endings[Ending.FAILED],
            "wallSeconds": round(self._wall_seconds, 3),
            "cpuSeconds": round(cpu_seconds, 2),
            "cpuMsPerSaga": round(cpu_seconds * 1000 / load.workflows, 3),
            "rssMiB": round(self._rss_mib[0], 1),
            "rssMiBAt": [[ended, round(mib, 1)] for ended, mib in self._rss_at],
            "flushesPerSaga": None if flushes_per_saga is None else round(flushes_per_saga, 3),
            "processes": [
                {"name": gauge.name, "cpuSeconds": round(cpu, 2), "rssMiB": round(rss, 1)}
                for gauge, cpu, rss in zip(
                    self.gauges, self._cpu_seconds, self._rss_mib, strict=True
                )
            ],
        }

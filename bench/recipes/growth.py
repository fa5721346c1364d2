"""How speed, memory and stores change with the number of workflows that are stored."""

from __future__ import annotations

import time
from collections.abc import Awaitable, Callable, Sequence

from application.ports import Document
from bench.recipes.gauges import Gauge
from bench.recipes.load import WARM_UP, Load, Phase
from bench.recipes.options import Options

#: Runs a phase to its end; the second argument is called with its progress.
Drive = Callable[[Phase, Callable[[Phase], None] | None], Awaitable[None]]

#: At each size this many are measured together, and this many alone; they count among the stored.
TOGETHER, ALONE = 2000, 100
_IN_FLIGHT = 1000


async def grow(
    mode: str,
    sizes: Sequence[int],
    drive: Drive,
    gauge: Gauge,
    stored_bytes: Callable[[], int],
    options: Options,
    prefix: str = "",
) -> tuple[Document, bool]:
    """Fill up to each size in turn and measure there. Returns what the other recipes return.

    `prefix` begins every workflow id; `stored_bytes` returns 0 where nobody knows. Raises BenchError.
    """
    stored = wrong = 0

    async def run(name: str, workflows: int, in_flight: int) -> Phase:
        nonlocal stored, wrong
        phase = Phase(f"{prefix}{name}", Load(workflows=workflows, in_flight=in_flight))
        await drive(phase, lambda each: options.progress(stored + each.ended, sizes[-1]))
        stored += workflows
        wrong += phase.wrong
        return phase

    await run("w-", WARM_UP, _IN_FLIGHT)
    figures: list[Document] = []
    for place, size in enumerate(sizes):
        missing = size - stored - TOGETHER - ALONE
        if missing > 0:
            await run(f"f{place}-", missing, _IN_FLIGHT)
        began = time.perf_counter()
        await run(f"t{place}-", TOGETHER, _IN_FLIGHT)
        seconds = time.perf_counter() - began
        alone = await run(f"a{place}-", ALONE, 1)
        figures.append(
            {
                "stored": stored,
                "sagasPerSecond": round(TOGETHER / seconds, 1),
                "p50AloneMs": round(alone.percentile_ms(0.50), 2),
                "rssMiB": round(gauge.rss_mib(), 1),
                "storedMiB": round(stored_bytes() / 2**20, 1) or None,
            }
        )
    return {"mode": mode, "workflows": stored, "growth": figures}, not wrong

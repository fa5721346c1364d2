"""`python -m bench.recipes.embedded_lives first|second FILE WORKFLOWS`: an engine around kill -9.

In its first life it opens workflows, in its second it completes them. Each prints one line of JSON and
waits to be killed. Its clock is the machine's, so that the parent can compare.
"""

from __future__ import annotations

import asyncio
import json
import os
import sys
import time
from collections.abc import Sequence
from pathlib import Path

from bench.recipes.embedded_site import embedded_site, engine, participant
from bench.recipes.gauges import Gauge
from bench.recipes.load import WARM_UP
from bench.recipes.recovery import opening, patient_definition
from infrastructure.logs import configure_logging
from infrastructure.settings import LogSection, load_settings


async def _first(file: Path, workflows: int) -> None:
    gauge = Gauge("engine", os.getpid())
    async with embedded_site(file, [engine(load_settings())]) as site:
        await site.mode.backbone.registry.register(patient_definition())
        await site.drive(opening("warm-", WARM_UP))
        before = gauge.rss_mib()
        await site.drive(opening("open-", workflows))
        await _tell(rssMiBBefore=before, rssMiBOpen=gauge.rss_mib())


async def _second(file: Path, workflows: int) -> None:
    async with embedded_site(file, [engine(load_settings())]) as site:
        await site.drive(opening("next-", 1))
        first = time.perf_counter()
        site.run(participant)
        completing = opening("open-", workflows).left_open()
        await site.drive(completing)
        last = time.perf_counter()
        await _tell(firstDecisionAt=first, allCompletedAt=last, wrong=completing.wrong)


async def _tell(**seen: float) -> None:
    print(json.dumps(seen), flush=True)
    await asyncio.Event().wait()


def main(arguments: Sequence[str]) -> None:
    life, file, workflows = arguments
    configure_logging(LogSection(level="WARNING"))
    course = _first if life == "first" else _second
    asyncio.run(course(Path(file), int(workflows)))


if __name__ == "__main__":
    main(sys.argv[1:])

"""Whether the servers of a process answer, and log lines about those that go away."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Mapping

import structlog

from infrastructure.wiring import Probe

log = structlog.get_logger("conveyor")

_PROBE_SECONDS = 3.0
#: How often the servers are looked at for the log.
_WATCH_SECONDS = 5.0


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

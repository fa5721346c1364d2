"""The embedded mode under measurement: one file, and the roles that run on it in this process."""

from __future__ import annotations

import asyncio
import os
import tempfile
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

from conveyor.runner import ParticipantRunner
from prometheus_client import CollectorRegistry

from adapters.sqlite.participant import (
    SqliteKeyStore,
    SqliteParticipantTransport,
)
from bench.recipes.embedded_client import EmbeddedClient
from bench.recipes.load import Phase
from infrastructure.initialise import initialise_embedded
from infrastructure.running import EngineRunner
from infrastructure.settings import Settings
from infrastructure.warehouse import build_warehouse
from infrastructure.wiring import Embedded, embedded

#: Where files are on a disk, unless TMPDIR says otherwise: in memory every flush would be free.
_ON_DISK = Path("/var/tmp")  # noqa: S108 - only a folder of our own is made there

#: Works on the file until the event is set.
Role = Callable[[Embedded, asyncio.Event], Coroutine[Any, Any, None]]


@contextmanager
def folder_on_disk() -> Generator[Path]:
    """A folder for the file, gone in the end."""
    parent = _ON_DISK if _ON_DISK.is_dir() and "TMPDIR" not in os.environ else None
    with tempfile.TemporaryDirectory(prefix="conveyor-bench-", dir=parent) as folder:
        yield Path(folder)


def engine(settings: Settings) -> Role:
    async def run(mode: Embedded, stop: asyncio.Event) -> None:
        await EngineRunner(mode.backbone, settings, CollectorRegistry()).run(stop)

    return run


async def participant(mode: Embedded, stop: asyncio.Event) -> None:
    session = mode.participants
    runner = ParticipantRunner(
        build_warehouse(), SqliteParticipantTransport(session), SqliteKeyStore(session)
    )
    await runner.run_until(stop)


class EmbeddedSite:
    """Roles side by side, and a client that drives phases through them."""

    def __init__(self, mode: Embedded) -> None:
        self.mode = mode
        self._client = EmbeddedClient(mode.store, mode.backbone.publisher, mode.backbone.clock)
        self._stop = asyncio.Event()
        self._running: list[asyncio.Task[None]] = []

    def run(self, role: Role) -> None:
        self._running.append(asyncio.create_task(role(self.mode, self._stop)))

    async def drive(self, phase: Phase, tick: Callable[[Phase], None] | None = None) -> None:
        """Run the phase to its end. Raises BenchError, and the fault that a role has ended with."""
        driving = asyncio.create_task(self._client.drive(phase, tick))
        try:
            await asyncio.wait([driving, *self._running], return_when=asyncio.FIRST_COMPLETED)
        finally:
            if not driving.done():
                driving.cancel()
        for role in self._running:
            if role.done():
                role.result()
        await driving

    async def stop(self) -> None:
        self._stop.set()
        await asyncio.gather(*self._running)


@asynccontextmanager
async def embedded_site(path: Path, roles: Sequence[Role]) -> AsyncGenerator[EmbeddedSite]:
    """The file, initialised if it is new, with these roles running on it."""
    async with embedded(path, Settings()) as mode:
        await initialise_embedded(mode.backbone, mode.store)
        site = EmbeddedSite(mode)
        for role in roles:
            site.run(role)
        try:
            yield site
        finally:
            await site.stop()

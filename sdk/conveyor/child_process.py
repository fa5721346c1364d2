"""A worker as a child process, of `conveyor dev` or of `conveyor-worker --reload`."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Collection, Sequence
from contextlib import suppress
from typing import Any

log = logging.getLogger(__name__)

#: The process that a worker must not outlive.
PARENT = "CONVEYOR_WORKER_PARENT"
#: The exit code of a worker that cannot start; its own message says why.
CANNOT_START = 2
#: Between the end of a worker and the start of the next one.
AGAIN_SECONDS = 1.0


async def run_child(
    command: Sequence[str], until: Collection[asyncio.Task[Any]], grace_seconds: float
) -> int | None:
    """Run the command and return its exit code.

    None: one of the tasks `until` was done first. The child then had `grace_seconds` to finish what it had begun.
    A call that is cancelled kills the child.
    """
    environment = {**os.environ, PARENT: str(os.getpid())}
    process = await asyncio.create_subprocess_exec(*command, env=environment)
    ended = asyncio.create_task(process.wait())
    try:
        await asyncio.wait({ended, *until}, return_when=asyncio.FIRST_COMPLETED)
        if ended.done():
            return ended.result()
        with suppress(ProcessLookupError):
            process.terminate()
        await asyncio.wait({ended}, timeout=grace_seconds)
        if not ended.done():
            log.warning("A handler still runs after %d s; the worker is killed", grace_seconds)
    finally:
        if not ended.done():
            with suppress(ProcessLookupError):
                process.kill()
            await ended
    return None

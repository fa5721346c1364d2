"""`conveyor dev --worker`: a worker of the user's own code, as a child process."""

from __future__ import annotations

import asyncio
import os
import shutil
import sys
from pathlib import Path

import structlog

from application.ports import SetupError

log = structlog.get_logger("conveyor")

_CANNOT_START = 2
_AGAIN_SECONDS = 1.0
_GRACE_SECONDS = 30.0
_SCRIPT = "conveyor-worker"


def worker_script() -> str:
    """The script of the SDK next to this command, else on the path. Raises SetupError."""
    beside = Path(sys.executable).with_name(_SCRIPT)
    found = str(beside) if beside.exists() else shutil.which(_SCRIPT)
    if found is None:
        raise SetupError(f"{_SCRIPT} is not installed: pip install 'conveyor-sdk[http]'")
    return found


async def run_worker(
    script: str, reference: str, url: str, stop: asyncio.Event, *, reload: bool = False
) -> None:
    """Run it until `stop`; one that dies is started again. Raises SetupError if it cannot start.

    With `reload` the worker itself starts again after a change of its code.
    """
    command = [script, reference, "--url", url, *(["--reload"] if reload else [])]
    environment = {**os.environ, "CONVEYOR_WORKER_PARENT": str(os.getpid())}
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            process = await asyncio.create_subprocess_exec(*command, env=environment)
            ended = asyncio.create_task(process.wait())
            await asyncio.wait({ended, stopped}, return_when=asyncio.FIRST_COMPLETED)
            if not ended.done():
                await _end(process, ended)
                return
            if ended.result() == _CANNOT_START:
                raise SetupError(f"the worker {reference} cannot start; its own message says why")
            log.warning("the worker ended; it is started again", exitCode=ended.result())
            await asyncio.wait({stopped}, timeout=_AGAIN_SECONDS)
    finally:
        stopped.cancel()


async def _end(process: asyncio.subprocess.Process, ended: asyncio.Task[int]) -> None:
    process.terminate()
    await asyncio.wait({ended}, timeout=_GRACE_SECONDS)
    if not ended.done():
        process.kill()
    await ended

"""`conveyor dev --worker`: a worker of the user's own code, as a child process."""

from __future__ import annotations

import asyncio
import shutil
import sys
from pathlib import Path

import structlog
from conveyor.child_process import AGAIN_SECONDS, CANNOT_START, run_child

from application.ports import SetupError

log = structlog.get_logger("conveyor")

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
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            exit_code = await run_child(command, (stopped,), _GRACE_SECONDS)
            if exit_code == CANNOT_START:
                raise SetupError(f"the worker {reference} cannot start; its own message says why")
            if exit_code is not None:
                log.warning("the worker ended; it is started again", exitCode=exit_code)
                await asyncio.wait({stopped}, timeout=AGAIN_SECONDS)
    finally:
        stopped.cancel()

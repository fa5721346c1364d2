"""`conveyor-worker --reload`: a child process runs the worker, and a new one replaces it after a change.

A new process imports everything afresh. What the old one had begun, it finishes first.
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Mapping, Sequence
from pathlib import Path

from conveyor.child_process import AGAIN_SECONDS, CANNOT_START, run_child

log = logging.getLogger(__name__)

_LOOK_SECONDS = 0.5
#: Less than what `conveyor dev` waits for this process, so that no child is left behind.
_GRACE_SECONDS = 25.0

#: Source file, from the folder -> its modification time in nanoseconds.
Sources = Mapping[str, int]


def sources(folder: Path) -> Sources:
    """The Python files below this folder. Hidden folders and virtual environments are left out."""
    found: dict[str, int] = {}
    for place, folders, files in os.walk(folder):
        folders[:] = [each for each in folders if not _is_left_out(place, each)]
        for name in files:
            if name.endswith(".py"):
                path = Path(place, name)
                try:
                    found[str(path.relative_to(folder))] = path.stat().st_mtime_ns
                except OSError:
                    log.debug("%s was removed meanwhile", path)
    return found


def _is_left_out(place: str, folder: str) -> bool:
    is_hidden = folder.startswith(".") or folder == "__pycache__"
    return is_hidden or Path(place, folder, "pyvenv.cfg").exists()


async def run_again_after_changes(
    command: Sequence[str], folder: Path, stop: asyncio.Event
) -> None:
    """Run the command until `stop`, and again after each change below the folder."""
    stopped = asyncio.create_task(stop.wait())
    try:
        while not stop.is_set():
            # Before the start: what changes during the imports counts.
            changed = asyncio.create_task(_until_changed(folder, sources(folder)))
            try:
                await _run_once(command, changed, stopped)
            finally:
                changed.cancel()
    finally:
        stopped.cancel()


async def _run_once(
    command: Sequence[str], changed: asyncio.Task[None], stopped: asyncio.Task[bool]
) -> None:
    exit_code = await run_child(command, (changed, stopped), _GRACE_SECONDS)
    if exit_code == CANNOT_START:
        await asyncio.wait({changed, stopped}, return_when=asyncio.FIRST_COMPLETED)
    elif exit_code is not None and not stopped.done():
        log.warning("The worker ended with exit code %d; it is started again", exit_code)
        await asyncio.wait({stopped}, timeout=AGAIN_SECONDS)


async def _until_changed(folder: Path, seen: Sources) -> None:
    while True:
        await asyncio.sleep(_LOOK_SECONDS)
        if changed := sources(folder).items() ^ seen.items():
            names = ", ".join(sorted({name for name, _ in changed}))
            print(f"conveyor-worker: {names} changed; starting again", flush=True)  # noqa: T201
            return

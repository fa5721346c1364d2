"""Workers as child processes."""

from __future__ import annotations

import asyncio
import os
import sys
from pathlib import Path

from conveyor.child_process import run_child

from tests.waiting import until

_CHILD = "import os, pathlib, sys, time; pathlib.Path(sys.argv[1]).write_text(f'{os.getpid()}.'); time.sleep(600)"


def is_there(pid: int) -> bool:
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return False
    return True


async def test_who_is_cancelled_leaves_no_child(tmp_path: Path) -> None:
    """A caller that fails meanwhile cancels the wait; the child ends with it."""
    written = tmp_path / "pid"
    command = (sys.executable, "-c", _CHILD, str(written))
    running = asyncio.create_task(run_child(command, (), 30.0))
    await until(lambda: written.exists() and written.read_text().endswith("."))
    pid = int(written.read_text().rstrip("."))

    running.cancel()
    await asyncio.wait({running})

    assert running.cancelled()
    assert not is_there(pid)

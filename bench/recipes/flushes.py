"""Flushes to disk, counted by strace.

strace stops a process at each system call, which slows it down. So flushes are counted over separate workflows, and no
other figure is taken meanwhile.
"""

from __future__ import annotations

import shutil
import subprocess
import tempfile
import time
from collections.abc import Generator, Sequence
from contextlib import contextmanager
from pathlib import Path

from bench.recipes.errors import BenchError

_ATTACH_SECONDS = 5.0
_POLL_SECONDS = 0.01


class FlushCount:
    """The result, known when counting has ended."""

    flushes = 0


@contextmanager
def counting_flushes(pids: Sequence[int]) -> Generator[FlushCount]:
    """Count fsync and fdatasync of these processes; raises BenchError where that is not allowed."""
    program = shutil.which("strace")
    if program is None:
        raise BenchError("strace is not installed")
    count = FlushCount()
    with tempfile.NamedTemporaryFile(prefix="conveyor-strace-") as output:
        watched = [argument for pid in pids for argument in ("-p", str(pid))]
        command = [program, "-f", "-qq", "-e", "trace=fsync,fdatasync", "-o", output.name, *watched]
        with subprocess.Popen(
            command, stderr=subprocess.PIPE, text=True, start_new_session=True
        ) as strace:
            try:
                _wait_until_attached(strace, pids)
                yield count
            finally:
                strace.terminate()
                strace.wait()
        # A call that another thread interrupted has a second line, "<... fsync resumed>)".
        count.flushes = Path(output.name).read_text().count("sync(")


def _wait_until_attached(strace: subprocess.Popen[str], pids: Sequence[int]) -> None:
    deadline = time.monotonic() + _ATTACH_SECONDS
    while not all(_is_traced(pid) for pid in pids):
        if strace.poll() is not None:
            said = strace.stderr.read().strip() if strace.stderr is not None else ""
            raise BenchError(f"strace may not watch the processes: {said}")
        if time.monotonic() > deadline:
            raise BenchError("strace does not get hold of the processes")
        time.sleep(_POLL_SECONDS)


def _is_traced(pid: int) -> bool:
    return "TracerPid:\t0\n" not in Path(f"/proc/{pid}/status").read_text()

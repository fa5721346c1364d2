"""Scripts that might hang while they hold the interpreter, which no time-out of a test would end."""

from __future__ import annotations

import subprocess
import sys


def check_in_time(source: str) -> None:
    """Runs it in a process of its own. Raises what tells of it if it fails, or takes longer than anything should."""
    done = subprocess.run(
        [sys.executable, "-c", source], capture_output=True, text=True, timeout=30, check=False
    )

    assert done.stderr == ""
    assert done.returncode == 0

"""CPU time by function, of every thread of this process."""

from __future__ import annotations

import cProfile
import pstats
import sys
import threading
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path
from types import FrameType
from typing import Any


@contextmanager
def profiled(path: Path | None) -> Generator[None]:
    """Write a pstats file about what runs inside, if a path is given."""
    if path is None:
        yield
        return
    profiles = [cProfile.Profile(time.thread_time)]

    def begin_in_thread(_frame: FrameType, _event: str, _argument: Any) -> None:
        # The first call in a new thread gets here; from then on its own profile is called.
        profiles.append(cProfile.Profile(time.thread_time))
        profiles[-1].enable()

    threading.setprofile(begin_in_thread)
    profiles[0].enable()
    try:
        yield
    finally:
        sys.setprofile(None)
        threading.setprofile(None)
        statistics = pstats.Stats(*profiles)
        statistics.dump_stats(path)

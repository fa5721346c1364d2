"""Waiting for nothing but time, where the length of a fault is what it is."""

from __future__ import annotations

import time
from collections.abc import Callable

from tests.acceptance.programs import until


def pass_by(seconds: float, meanwhile: Callable[[], object] = lambda: None) -> None:
    """Return after so long; `meanwhile` is called again and again."""
    end = time.monotonic() + seconds

    def look() -> bool:
        meanwhile()
        return time.monotonic() >= end

    until("the end of the while", look, seconds + 30)

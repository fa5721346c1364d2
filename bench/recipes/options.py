"""How a run is watched, apart from its load."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path


def _tell_nobody(_ended: int, _workflows: int) -> None:
    """Nobody watches."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Options:
    """None of them changes what is measured, only what it is measured with."""

    #: Told in a sentence what could not be had or not be removed.
    warn: Callable[[str], None]
    #: Numbers of ended workflows at which the engine's memory is noted, ascending.
    rss_at: tuple[int, ...] = ()
    #: Count flushes to disk by strace, over workflows of their own after the clock has stopped.
    flushes: bool = False
    #: Where the CPU time by function goes (pstats); the figures of such a run are slower.
    profile: Path | None = None
    #: Told of the workflows that have ended, and of how many there are, at every batch of events.
    progress: Callable[[int, int], None] = _tell_nobody

"""Figures that follow from what a run reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Run = Mapping[str, Any]


def engine_cpu_ms_per_saga(run: Run) -> float:
    """CPU time of the engine's process. In embedded mode this is the only process."""
    (engine,) = (each for each in run["processes"] if each["name"] == "engine")
    return 1000 * engine["cpuSeconds"] / run["workflows"]


def mib_of_open(run: Run) -> float:
    """The engine's growth in MiB while the workflows of a recovery were opened."""
    return run["rssMiBOpen"] - run["rssMiBBefore"]

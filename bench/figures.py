"""Figures that follow from what a run reports."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

Run = Mapping[str, Any]


def engine_cpu_ms_per_saga(run: Run) -> float:
    """Of the engine's process alone; in embedded mode that is the one process, which is all of them."""
    (engine,) = (each for each in run["processes"] if each["name"] == "engine")
    return 1000 * engine["cpuSeconds"] / run["workflows"]


def mib_of_open(run: Run) -> float:
    """What the engine grew by while the workflows of a recovery were opened."""
    return run["rssMiBOpen"] - run["rssMiBBefore"]

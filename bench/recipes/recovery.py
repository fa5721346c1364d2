"""Kill -9 of an engine with many open workflows: what they cost in memory, and how soon it goes on.

The workflows wait for their first step, whose participant is not there, and are killed as soon as the
last one has started, when states and offsets are still behind. A new engine begins at once. Recovered
is measured twice: when it decides the first new command, and when all open workflows have completed,
once the participant has come.
"""

from __future__ import annotations

from dataclasses import dataclass

from application.definitions import shipped_definitions
from application.ports import Document
from bench.recipes.load import DEFINITION, Load, Opening

_IN_FLIGHT = 1000
_HOUR_MS = 3_600_000
_NAME = f"{DEFINITION}-patient"


def patient_definition() -> Document:
    """The shipped workflow with time-outs that no measurement meets."""
    (shipped,) = [each for each in shipped_definitions() if each["name"] == DEFINITION]
    steps = [{**step, "timeoutMs": _HOUR_MS} for step in shipped["steps"]]
    return {**shipped, "name": _NAME, "timeoutSeconds": _HOUR_MS // 1000, "steps": steps}


def opening(prefix: str, workflows: int) -> Opening:
    """Workflows that wait for their first step."""
    return Opening(prefix, Load(workflows=workflows, in_flight=_IN_FLIGHT, definition=_NAME))


@dataclass(frozen=True, slots=True, kw_only=True)
class Recovery:
    """What was seen; times in seconds since the kill."""

    mode: str
    open_instances: int
    #: Of the engine before and after they were opened.
    rss_mib_before: float
    rss_mib_open: float
    first_decision: float
    all_completed: float

    def report(self) -> Document:
        return {
            "mode": self.mode,
            "openInstances": self.open_instances,
            "rssMiBBefore": round(self.rss_mib_before, 1),
            "rssMiBOpen": round(self.rss_mib_open, 1),
            "secondsToFirstDecision": round(self.first_decision, 2),
            "secondsToAllCompleted": round(self.all_completed, 2),
        }

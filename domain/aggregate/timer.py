"""Timers: they follow from the state of an aggregate, and fire as messages to it (PROTOCOL rule 13)."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from domain.values import value


@value
class Firing:
    """The command of a due timer. It is decided by this identity alone, never by a clock."""

    #: What is due: `step-timeout`, `schedule-due`, ...
    name: str
    #: The part of the aggregate that it concerns, for example a step; None for the aggregate itself.
    subject: str | None
    #: Which one of its kind, for example the attempt.
    number: int
    round: int


@dataclass(frozen=True, slots=True)
class Timer:
    """Something that is due at a time."""

    due_at: datetime
    firing: Firing

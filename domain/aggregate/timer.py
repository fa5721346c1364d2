"""Timers: they follow from the state of an aggregate, and fire as messages to it (PROTOCOL rule 13)."""

from __future__ import annotations

from datetime import datetime

from domain.values import Value


class Firing(Value):
    """The command of a due timer. It is decided by this identity alone, never by a clock."""

    #: What is due: `step-timeout`, `schedule-due`, ...
    name: str
    #: The part of the aggregate that the timer belongs to, for example a step. None: the aggregate itself.
    subject: str | None
    #: Which one of its kind, for example the attempt.
    number: int
    round: int


class Timer(Value, kw_only=False):
    """Something that is due at a time."""

    due_at: datetime
    firing: Firing

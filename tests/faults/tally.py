"""What was done to the system and what came of it, counted for the report of `make faults`."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field
from enum import StrEnum


class Fault(StrEnum):
    """A kind of fault; the value is its name in the report."""

    #: SIGKILL of a process.
    KILL = "kill -9"
    #: SIGSTOP of a process, then SIGCONT.
    FREEZE = "STOP"
    #: SIGTERM of a process, then a start.
    RESTART = "restart"
    #: Connections to a server, or what goes over them, are cut, refused or held.
    CONNECTION = "connections"
    #: Space is taken away from a file.
    DISK = "disk"
    #: A write-ahead log ends elsewhere, or otherwise.
    LOG = "log"
    #: A record that no receiver can carry out.
    POISON = "poison"
    #: A record that came on another partition too.
    COPY = "copy"


#: A kind, and what it was done to or how.
Sort = tuple[Fault, str]


@dataclass(slots=True)
class Tally:
    """The row of one test."""

    test: str
    faults: Counter[Sort] = field(default_factory=Counter[Sort])
    #: End -> how many sagas.
    ends: Counter[str] = field(default_factory=Counter[str])
    events: int = 0
    #: What was really done, by the warehouse's journal or its key records.
    effects: int = 0
    violations: int = 0
    #: `passed`, `failed` or `skipped`.
    outcome: str = "failed"

    def add(self, fault: Fault, what: str, count: int = 1) -> None:
        """One more fault of a kind."""
        self.faults[fault, what] += count

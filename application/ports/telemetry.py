"""What the engine reports, and the clock that it reads."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from application.ports.log import RecordedEvent
from domain.aggregate.kind import State


class Telemetry(Protocol):
    """Told what happened, for logs and metrics; must not fail and must be quick."""

    def recorded(self, events: Sequence[RecordedEvent], state: State) -> None:
        """These events are appended and published; `state` is that of their aggregate, after them or later ones."""
        ...

    def counted(self, what: str, amount: int = 1) -> None:
        """Something without an event: `dead_letters`, `orphans`, `rerouted`, `conflicts`, `restarts`."""
        ...


class Clock(Protocol):
    """Time as the application sees it; virtual in the simulator."""

    def now(self) -> datetime:
        """The time of day: UTC, whole milliseconds. Somebody may set it, so it measures no interval."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment; never set back. For intervals, waits and what is kept for a while."""
        ...

    async def sleep(self, seconds: float) -> None: ...

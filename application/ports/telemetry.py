"""Telemetry, and the clock."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Protocol

from application.ports.log import RecordedEvent
from domain.aggregate.kind import State


class Telemetry(Protocol):
    """Receives what happened, for logs and metrics. Must be quick, and must not raise."""

    def recorded(self, events: Sequence[RecordedEvent], state: State) -> None:
        """These events are appended and published. `state` is their aggregate's state after them, or a later one."""
        ...

    def counted(self, what: str, amount: int = 1) -> None:
        """Count something that is not an event: `dead_letters`, `orphans`, `rerouted`, `conflicts`, `restarts`."""
        ...


class Clock(Protocol):
    """The application's clock; virtual in the simulator."""

    def now(self) -> datetime:
        """The time of day: UTC, whole milliseconds. It may be adjusted, so do not measure intervals with it."""
        ...

    def monotonic(self) -> float:
        """Seconds since some moment, never set back. For intervals, waits and expiry."""
        ...

    async def sleep(self, seconds: float) -> None: ...

"""One message on its way through a batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conveyor.messages import Message

from application.codec.commands import is_command
from domain.aggregate.position import Position


@dataclass(slots=True)
class Work:
    """An understood message, and what it asks of which aggregate."""

    position: Position
    message: Message
    aggregate_id: str
    #: A command or a `Rejection`; `Unresolved` until the batch has looked up what it refers to.
    command: Any
    #: The event's own time, or without one the record's, in milliseconds since 1970.
    at_ms: int
    #: The time of the event that an internal message follows from: nothing is decided earlier (PROTOCOL rule 26).
    not_before: datetime | None = None

    @property
    def is_command(self) -> bool:
        """Somebody waits for its outcome."""
        return is_command(self.message.type)

"""One message within a batch."""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from conveyor.messages import Message

from application.codec.commands import is_command
from domain.aggregate.position import Position


@dataclass(slots=True)
class Work:
    """A decoded message: its aggregate, and what it asks for."""

    position: Position
    message: Message
    aggregate_id: str
    #: A command or a `Rejection`. `Unresolved` until the batch has looked up what the message refers to.
    command: Any
    #: The event's own time or, if it has none, the record's, in milliseconds since 1970.
    at_ms: int
    #: The time of the event that caused an internal message; no decision may be dated earlier (PROTOCOL rule 26).
    not_before: datetime | None = None

    @property
    def is_command(self) -> bool:
        """Whether a sender may wait for its outcome."""
        return is_command(self.message.type)

"""What the events of all aggregates have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from domain.values import Value


class DomainEvent(Value):
    """What every event has besides its place in the stream."""

    TYPE: ClassVar[str]
    NAME: ClassVar[str]
    KIND: ClassVar[str | None] = None

    occurred_at: datetime
    actor: str = "system"


class CommandRejected(DomainEvent):
    """A refusal, stored so that the same message is refused again for the same reason."""

    TYPE = "orchestration.command.rejected"
    NAME = "CommandRejectedEvent"
    command_id: str
    command_type: str
    code: str
    detail: str
    status: str | None = None
    allowed_commands: tuple[str, ...] = ()
    faults: tuple[Mapping[str, str], ...] = ()

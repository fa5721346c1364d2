"""What the events of all aggregates have in common."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import ClassVar

from domain.values import Value


class DomainEvent(Value):
    """The fields that every event has, apart from its place in the stream."""

    TYPE: ClassVar[str]
    NAME: ClassVar[str]
    KIND: ClassVar[str | None] = None

    occurred_at: datetime
    actor: str = "system"


class CommandRejected(DomainEvent):
    """A refused command. It is stored so that a copy of the message is refused for the same reason."""

    TYPE = "orchestration.command.rejected"
    NAME = "CommandRejectedEvent"
    command_id: str
    command_type: str
    code: str
    detail: str
    status: str | None = None
    allowed_commands: tuple[str, ...] = ()
    faults: tuple[Mapping[str, str], ...] = ()

"""What every event has in common, whichever aggregate it happens to."""

from __future__ import annotations

from datetime import datetime
from typing import ClassVar

from domain.values import value


@value
class DomainEvent:
    """What every event has besides its place in the stream."""

    TYPE: ClassVar[str]
    NAME: ClassVar[str]
    KIND: ClassVar[str | None] = None

    occurred_at: datetime
    actor: str = "system"

"""How requests reach a participant and its replies leave it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import NamedTuple, Protocol

from conveyor.messages import Message, Record


class Taken(NamedTuple):
    """A request and the place where it stood (its topic is `message.topic`)."""

    message: Message
    partition: int
    offset: int


class Transport(Protocol):
    """A consumer of the request topics of some services and a producer of replies.

    Every method may raise `ServerUnavailableError`. The caller then repeats the call, so a reply may
    be written twice (with the same id), but is never left out.
    """

    async def start(self, participant: str, services: Sequence[str]) -> None:
        """Join the participant's consumer group on the request topic of each service."""
        ...

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        """Requests not taken before, at most `limit`, in topic order per partition.

        Waits for the first one only. With limit 0 it delivers nothing and keeps the membership.
        """
        ...

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        """Write the replies, durably, and only then let the offsets advance past `done`.

        Requests are finished out of order; the committed offset never passes an unfinished one.
        """
        ...

    async def close(self) -> None:
        """Commit the finished offsets and leave; unfinished requests will be delivered again."""
        ...

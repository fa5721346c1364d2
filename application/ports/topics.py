"""Writing to topics, and following the events topic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from conveyor.messages import Message, Record


class PublishEventPort(Protocol):
    """Writes to topics in the given order, with every guarantee on (PROTOCOL rule 7)."""

    def publish(self, messages: Sequence[Message | Record]) -> Coroutine[Any, Any, None]:
        """Returns when all messages are acknowledged. Raises `Unavailable` if one was not: nothing later may be sent
        until the partitions were restarted. Raises `Refused` if a restart only helps without this topic's messages.

        If log and topics are one store, a commit belongs to the first call after its `append`, awaited or not.
        """
        ...


class TopicRepair(Protocol):
    """Repairs a topic that refuses the engine's messages."""

    async def try_again(self, topic: str, sample: Message | Record) -> None:
        """Create the topic or reset its limits, if this service may, then write the message on its own.

        Never creates an inbox topic, because its messages would be missing. Raises `Unavailable`, with the reason, if
        the message still could not be written.
        """
        ...


@dataclass(frozen=True, slots=True)
class ReadServices:
    """Services whose requests are read, or have been."""

    names: frozenset[str]
    #: Why others may be read as well; None: they never were, so one may be a misspelt name.
    doubt: str | None = None


class RequestReaders(Protocol):
    """Knows which services have a reader of their requests."""

    async def ever_read(self, services: Sequence[str]) -> ReadServices:
        """The services that are known to be read. Raises `Unavailable`."""
        ...


class EventFeed(Protocol):
    """All workflow events from now on, for callers that wait for outcomes (API, SDK)."""

    def follow(self) -> AsyncIterator[Message]:
        """Messages of `orchestration.workflow.events` published after the first iteration step began."""
        ...

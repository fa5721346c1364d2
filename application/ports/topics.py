"""Writing to topics, and following the events topic."""

from __future__ import annotations

from collections.abc import AsyncIterator, Coroutine, Sequence
from dataclasses import dataclass
from typing import Any, Protocol

from conveyor.messages import Message, Record


class PublishEventPort(Protocol):
    """Writes to topics, in the order given, with every guarantee on (PROTOCOL rule 7)."""

    def publish(self, messages: Sequence[Message | Record]) -> Coroutine[Any, Any, None]:
        """Returns when all are acknowledged. Raises `Unavailable` if one was not: nothing later may be sent then
        until the partitions were restarted. It is `Refused` where that helps only without the topic's messages.

        Where log and topics are one store, commits belong to the first call after their `append`, awaited or not.
        """
        ...


class TopicRepair(Protocol):
    """What an engine can do for a topic that refuses its messages."""

    async def try_again(self, topic: str, sample: Message | Record) -> None:
        """Create the topic or reset its limits where this service may, then write the message, apart from all others.

        Never creates an inbox topic: its messages would be missing. Raises `Unavailable` if the message is still not
        written, with the reason.
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
        """Those of the services that it knows to be read. Raises `Unavailable`."""
        ...


class EventFeed(Protocol):
    """Every workflow event from now on, for waiters for outcomes (API, SDK)."""

    def follow(self) -> AsyncIterator[Message]:
        """Messages of `orchestration.workflow.events` published after the first iteration step began."""
        ...

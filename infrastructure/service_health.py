"""The services of definitions, as far as Conveyor sees them: does anybody read their requests?"""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence

import structlog
from conveyor.topics import step_requests

from application.definitions import services_named
from application.ports import (
    Clock,
    Document,
    ReadServices,
    RequestReaders,
    Unavailable,
    WorkflowDefinitionRepository,
)

log = structlog.get_logger("conveyor")

#: How long a caller waits for an answer.
_WAIT_SECONDS = 3.0
_START_WAIT_SECONDS = 0.5
_ASK_AGAIN_SECONDS = 5.0
_UNREAD = "nobody has ever read its requests: start a participant for it, or correct its name in the definition"

_NOT_ASKED = "not known yet who reads its requests"


class ServiceHealth:
    """The health of the services that definitions name. It asks seldom, so health may be polled often."""

    def __init__(
        self,
        definitions: WorkflowDefinitionRepository,
        readers: RequestReaders,
        clock: Clock,
    ) -> None:
        self._definitions = definitions
        self._readers = readers
        self._clock = clock
        self._services: Sequence[str] = ()
        self._read = ReadServices(frozenset(), _NOT_ASKED)
        self._asked_at: float | None = None
        self._asking: asyncio.Task[None] | None = None

    async def document(self, held_topics: Mapping[str, str]) -> Document:
        """Every service by its name. `held_topics`: those that refuse messages, and why."""
        await self._ask_again(_WAIT_SECONDS)
        return {
            service: {
                **self._status(service, held_topics.get(step_requests(service))),
                # This version has no breakers and no load.
                "circuitBreaker": None,
                "loadScore": None,
            }
            for service in self._services
        }

    async def warnings(self, services: Collection[str]) -> Sequence[str]:
        """A sentence for each of a definition's services that nobody has ever read, as far as that is known at once."""
        if self._read.names.issuperset(services):
            return ()
        if not set(services).issubset(self._services):
            # Of a definition that is newer than the last answer.
            self._asked_at = None
        await self._ask_again(_START_WAIT_SECONDS)
        known = sorted(set(services).intersection(self._services))
        unread = [each for each in known if self._status(each, None)["status"] == "UNREAD"]
        return [f"{service}: {_UNREAD}" for service in unread]

    def _status(self, service: str, held: str | None) -> Document:
        if held is not None:
            return {"status": "DEGRADED", "detail": held}
        if service in self._read.names:
            return {"status": "HEALTHY", "detail": None}
        if self._read.doubt is not None:
            return {"status": "UNKNOWN", "detail": self._read.doubt}
        return {"status": "UNREAD", "detail": _UNREAD}

    async def _ask_again(self, wait_seconds: float) -> None:
        """If it is time. A caller that comes meanwhile waits for the same answer, but not for long."""
        now = self._clock.monotonic()
        if self._asked_at is None or now - self._asked_at >= _ASK_AGAIN_SECONDS:
            self._asked_at = now
            if self._asking is None or self._asking.done():
                self._asking = asyncio.ensure_future(self._ask())
        if self._asking is not None:
            await asyncio.wait({self._asking}, timeout=wait_seconds)

    async def _ask(self) -> None:
        try:
            documents = await self._definitions.all()
            services = sorted({name for each in documents for name in services_named(each)})
            if services != self._services:
                # Nobody has asked about the new ones yet.
                self._services = services
                self._read = ReadServices(self._read.names, _NOT_ASKED)
            self._read = await self._readers.ever_read(services)
        except Unavailable as away:
            # The component's own probe reports it; what was known stays.
            log.debug("services are not known", component=away.component, detail=away.detail)

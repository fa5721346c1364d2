"""What health says of services: never more than is known."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import pytest

from adapters.memory.definitions import MemoryDefinitionRepository
from application.ports import Document, ReadServices, Unavailable
from infrastructure.clock import SystemClock
from infrastructure.service_health import ServiceHealth


class Readers:
    """Who reads what, as a test says."""

    found: ReadServices | None = None

    async def ever_read(self, services: Sequence[str]) -> ReadServices:
        if self.found is None:
            raise Unavailable("kafka", "no broker")
        return self.found


class Clock(SystemClock):
    """As late as a test says."""

    seconds = 0.0

    def monotonic(self) -> float:
        return self.seconds


class Site:
    def __init__(self) -> None:
        self.definitions = MemoryDefinitionRepository()
        self.readers = Readers()
        self.clock = Clock()
        self.health = ServiceHealth(self.definitions, self.readers, self.clock)

    async def defines(self, service: str) -> None:
        steps = [{"id": "a", "service": service, "operation": "do"}]
        await self.definitions.add({"name": f"uses-{service}", "version": 1, "steps": steps})

    async def statuses(self) -> Mapping[str, str]:
        self.clock.seconds += 60
        return {name: each["status"] for name, each in (await self.health.document({})).items()}


@pytest.fixture
def site() -> Site:
    return Site()


async def test_a_service_that_nobody_reads(site: Site) -> None:
    """It is known of every reader."""
    await site.defines("hotel")
    await site.defines("hotell")
    site.readers.found = ReadServices(frozenset({"hotel"}))

    assert await site.statuses() == {"hotel": "HEALTHY", "hotell": "UNREAD"}


async def test_a_reader_that_is_not_known_leaves_the_rest_open(site: Site) -> None:
    """It may be the one that reads the service."""
    await site.defines("hotel")
    await site.defines("hotell")
    site.readers.found = ReadServices(frozenset({"hotel"}), "what the group g reads is not known")

    assert await site.statuses() == {"hotel": "HEALTHY", "hotell": "UNKNOWN"}
    document: Document = await site.health.document({})
    assert document["hotell"]["detail"] == "what the group g reads is not known"


async def test_a_new_service_is_not_known_while_the_broker_is_away(site: Site) -> None:
    """What was known of the others stays."""
    await site.defines("hotel")
    await site.defines("hotell")
    assert await site.statuses() == {"hotel": "UNKNOWN", "hotell": "UNKNOWN"}
    site.readers.found = ReadServices(frozenset({"hotel"}))
    assert await site.statuses() == {"hotel": "HEALTHY", "hotell": "UNREAD"}

    site.readers.found = None
    assert await site.statuses() == {"hotel": "HEALTHY", "hotell": "UNREAD"}
    await site.defines("airline")

    statuses = await site.statuses()
    assert (statuses["hotel"], statuses["airline"]) == ("HEALTHY", "UNKNOWN")


async def test_a_start_learns_at_once_of_a_new_service_that_nobody_reads(site: Site) -> None:
    """Also right after health was asked. What is read is not asked about again."""
    await site.defines("hotel")
    site.readers.found = ReadServices(frozenset({"hotel"}))
    assert await site.statuses() == {"hotel": "HEALTHY"}
    await site.defines("hotell")

    [warning] = await site.health.warnings({"hotel", "hotell"})
    assert warning.startswith("hotell: nobody has ever read its requests")
    site.readers.found = None
    assert await site.health.warnings({"hotel"}) == ()


async def test_a_start_says_nothing_of_what_is_not_known(site: Site) -> None:
    """The broker is away, or some reader is not known."""
    await site.defines("hotel")
    assert await site.health.warnings({"hotel"}) == []
    site.readers.found = ReadServices(frozenset(), "what the group g reads is not known")

    site.clock.seconds += 60
    assert await site.health.warnings({"hotel"}) == []

"""The registry: one compiled object per registered version."""

from __future__ import annotations

from collections.abc import AsyncIterator
from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from adapters.memory.definitions import MemoryDefinitionRepository
from adapters.mongodb.connection import connect
from adapters.mongodb.definitions import MongoDefinitionRepository
from adapters.mongodb.schema import ensure_schema
from application.definitions import (
    DefinitionConflict,
    DefinitionRegistry,
    InvalidDefinition,
    restore_definition,
    shipped_definitions,
)
from application.ports import WorkflowDefinitionRepository
from tests.documents import document, step


class SettableClock:
    def __init__(self) -> None:
        self.time = datetime(2026, 11, 21, tzinfo=UTC)

    def now(self) -> datetime:
        return self.time

    def monotonic(self) -> float:
        return (self.time - datetime(2026, 11, 21, tzinfo=UTC)).total_seconds()

    async def sleep(self, seconds: float) -> None:
        self.time += timedelta(seconds=seconds)


@pytest.fixture
def clock() -> SettableClock:
    return SettableClock()


@pytest.fixture(params=["memory", pytest.param("mongodb", marks=pytest.mark.mongo)])
async def repository(
    request: pytest.FixtureRequest,
) -> AsyncIterator[WorkflowDefinitionRepository]:
    if request.param == "memory":
        yield MemoryDefinitionRepository()
        return
    async with connect(request.getfixturevalue("mongo_uri")) as client:
        name = f"test-{uuid4()}"
        await ensure_schema(client[name])
        yield MongoDefinitionRepository(client[name])
        await client.drop_database(name)


@pytest.fixture
def registry(repository: WorkflowDefinitionRepository, clock: SettableClock) -> DefinitionRegistry:
    return DefinitionRegistry(repository, clock)


async def test_register_and_get(registry: DefinitionRegistry) -> None:
    """A registered definition is found by name and version, by id and by name alone."""
    assert await registry.register(document(step("a"))) == "created"
    first = await registry.get("order", 1)

    assert first is not None
    assert await registry.get("order-v1") is first
    assert await registry.get("order-v1", 1) is first
    assert await registry.get("order") is first
    assert registry.cached("order", 1) is registry.cached("order-v1") is registry.cached("order")
    for reference, version in (("order", 2), ("order-v2", None), ("order-v1", 2), ("other", None)):
        assert await registry.get(reference, version) is None
        assert registry.cached(reference, version) is None


async def test_the_highest_version_is_the_default(registry: DefinitionRegistry) -> None:
    """Without a version the highest counts, also one with two digits, at once where it was registered."""
    for version in (2, 10, 9):
        await registry.register(document(step("a"), version=version))
        await registry.get("order")

    latest = await registry.get("order")

    assert latest is not None
    assert latest.version == 10
    assert registry.cached("order") is latest


async def test_a_version_registered_here_is_the_default_at_once(
    registry: DefinitionRegistry,
) -> None:
    """The process that registered a version never starts an older one afterwards."""
    await registry.register(document(step("a")))
    await registry.get("order")
    await registry.register(document(step("a"), version=2))

    assert registry.cached("order") is None


async def test_the_same_content_is_no_conflict(registry: DefinitionRegistry) -> None:
    """Registering again is harmless, whatever the order of fields and spelt-out defaults."""
    await registry.register(document(step("a", retry="default")))
    again = dict(
        reversed(document(step("a", retry="default", timeoutMs=5000), waveless=False).items())
    )

    assert await registry.register(again) == "same"


async def test_shipped_definitions_are_registered_once(
    repository: WorkflowDefinitionRepository, clock: SettableClock
) -> None:
    """What `init` registers again after a restart is found to be the same."""
    (shipped,) = shipped_definitions()

    first = await DefinitionRegistry(repository, clock).register(shipped)
    after_a_restart = DefinitionRegistry(repository, clock)
    found = await after_a_restart.get("order-fulfillment-v1")

    assert (first, await after_a_restart.register(shipped)) == ("created", "same")
    assert found is not None
    assert len(found.steps) == 5


async def test_other_content_under_the_same_version_is_refused(
    registry: DefinitionRegistry, repository: WorkflowDefinitionRepository
) -> None:
    """A version is immutable; the stored one stays."""
    await registry.register(document(step("a")))

    with pytest.raises(DefinitionConflict, match="order-v1") as conflict:
        await registry.register(document(step("a", timeoutMs=1)))

    assert conflict.value.definition_id == "order-v1"
    assert await repository.get("order", 1) == document(step("a"))


async def test_an_unsafe_definition_is_not_stored(
    registry: DefinitionRegistry, repository: WorkflowDefinitionRepository
) -> None:
    """The proof comes before the repository."""
    with pytest.raises(InvalidDefinition):
        await registry.register(document(step("a", compensation=None)))

    assert await repository.all() == []


async def test_a_definition_of_another_process_is_loaded(
    registry: DefinitionRegistry, repository: WorkflowDefinitionRepository, clock: SettableClock
) -> None:
    """What is not in memory is fetched; a newer version elsewhere is seen by `get` at once, by
    `cached` no longer than a second later."""
    await repository.add(document(step("a")))
    assert registry.cached("order", 1) is None
    first = await registry.get("order")
    await repository.add(document(step("a"), version=2))

    assert registry.cached("order") is first
    await clock.sleep(1.5)
    assert registry.cached("order") is None
    second = await registry.get("order")
    assert second is not None
    assert second.version == 2
    assert registry.cached("order", 1) is first


async def test_a_definition_is_one_object_per_process(
    repository: WorkflowDefinitionRepository, clock: SettableClock
) -> None:
    """Instances compare definitions by identity, so no second object may appear."""
    registry = DefinitionRegistry(repository, clock)
    await repository.add(document(step("a")))
    loaded = await registry.get("order", 1)

    assert await registry.register(document(step("a"))) == "same"
    assert await registry.get("order") is loaded
    assert registry.cached("order-v1") is loaded


async def test_stored_definitions_are_not_proved_again(
    registry: DefinitionRegistry, repository: WorkflowDefinitionRepository
) -> None:
    """A rule made later does not strand the runs of a definition that was once accepted."""
    await repository.add(document(step("a", compensation=None)))
    await repository.add(document(step("a"), version=2, lockKey="input.id"))

    old = await registry.get("order", 1)

    assert old is not None
    with pytest.raises(InvalidDefinition, match="lockKey is not supported"):
        await registry.get("order", 2)
    with pytest.raises(InvalidDefinition):
        restore_definition({"name": "order"})

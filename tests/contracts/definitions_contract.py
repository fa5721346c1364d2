"""What every `WorkflowDefinitionRepository` promises. Subclass `DefinitionsContract`."""

from __future__ import annotations

from abc import ABC, abstractmethod

import pytest

from application.ports import Document, WorkflowDefinitionRepository
from tests.contracts.samples import AWKWARD_JSON


def definition(name: str, version: int, **fields: object) -> Document:
    """A definition as registered."""
    return {
        "name": name,
        "version": version,
        "type": "ORDER_FULFILLMENT",
        "inputSchema": {"$id": "urn:x", "$ref": "#/$defs/order", "$defs": {"order": AWKWARD_JSON}},
        "steps": [{"id": "reserve", "service": "inventory-service", "operation": "reserve"}],
        **fields,
    }


@pytest.mark.contract
class DefinitionsContract(ABC):
    """Subclass it as `Test...` and define the fixture `definitions`: empty, closed afterwards."""

    @pytest.fixture
    @abstractmethod
    def definitions(self) -> WorkflowDefinitionRepository: ...

    async def test_a_definition_reads_back_equal(
        self, definitions: WorkflowDefinitionRepository
    ) -> None:
        """A definition is kept as registered, JSON Schema keywords included."""
        assert await definitions.add(definition("orders", 1)) is True

        assert await definitions.get("orders", 1) == definition("orders", 1)
        assert await definitions.get("orders", 2) is None
        assert await definitions.get("carts", 1) is None

    async def test_a_version_is_registered_once(
        self, definitions: WorkflowDefinitionRepository
    ) -> None:
        """A version that exists stays as it is, whatever else is offered under its name."""
        await definitions.add(definition("orders", 1))

        assert await definitions.add(definition("orders", 1, type="OTHER")) is False

        assert await definitions.get("orders", 1) == definition("orders", 1)

    async def test_the_latest_has_the_highest_version(
        self, definitions: WorkflowDefinitionRepository
    ) -> None:
        """Versions are numbers, and the order of registration does not matter."""
        for version in (9, 10, 2):
            await definitions.add(definition("orders", version))
        await definitions.add(definition("orders-express", 11))

        assert await definitions.latest("orders") == definition("orders", 10)
        assert await definitions.latest("carts") is None

    async def test_all_are_listed_by_name_and_version(
        self, definitions: WorkflowDefinitionRepository
    ) -> None:
        """Every version of every definition."""
        assert list(await definitions.all()) == []

        for name, version in (("orders", 10), ("carts", 1), ("orders", 2)):
            await definitions.add(definition(name, version))

        names = [(found["name"], found["version"]) for found in await definitions.all()]
        assert names == [("carts", 1), ("orders", 2), ("orders", 10)]

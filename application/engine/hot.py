"""One aggregate in memory. All of it can be loaded from the stores again."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

from application.aggregates.aggregate import Aggregate
from application.engine.memory import Memory
from application.ports import DefinitionOf, Document


@dataclass(slots=True)
class Hot:
    """The newest state that this engine knows, and the aggregate's memory of its inbox."""

    aggregate: Aggregate[Any]
    state: Any
    memory: Memory
    #: The version that the projection has.
    projected: int = 0

    @property
    def id(self) -> str:
        return self.state.id

    @property
    def version(self) -> int:
        return self.state.version

    def document(self, partition: int) -> Document:
        return self.aggregate.to_document(self.state, partition, self.memory.document())

    @staticmethod
    def from_document(
        aggregate: Aggregate[Any], document: Document, definition_of: DefinitionOf
    ) -> Hot:
        return Hot(
            aggregate,
            aggregate.from_document(document, definition_of),
            Memory.from_document(document["engine"]),
            projected=document["version"],
        )

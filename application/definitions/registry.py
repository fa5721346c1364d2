"""Registered definitions, compiled once per process."""

from __future__ import annotations

from datetime import timedelta
from typing import Literal

from conveyor.definition import read_definition

from application.codec.references import definition_named
from application.definitions.compilation import compile_definition, restore_definition
from application.ports import Clock, Document, WorkflowDefinitionRepository
from domain.definition.definition import WorkflowDefinition


class DefinitionConflict(Exception):
    """That name and version is registered with other content (`DEFINITION_EXISTS`)."""

    def __init__(self, definition_id: str) -> None:
        super().__init__(
            f"{definition_id} is registered with other content; a change is a new version"
        )
        self.definition_id = definition_id


def services_of(definition: WorkflowDefinition) -> frozenset[str]:
    """Every service that the definition sends requests to."""
    undoing = {step.compensation.service_name for step in definition.steps if step.compensation}
    return frozenset(undoing | {step.service for step in definition.steps})


def services_named(document: Document) -> frozenset[str]:
    """The same for a registered document that a newer version may have registered, so it need not be readable."""
    steps: list[Document] = document.get("steps") or []
    undoing: list[Document] = [step.get("compensation") or {} for step in steps]
    named = {part.get("service") for part in (*steps, *undoing)}
    return frozenset(each for each in named if isinstance(each, str))


class DefinitionRegistry:
    """The repository's definitions as the domain uses them; one object per name and version.

    `latest_for` is how long a process may use the highest version that it knows before it looks for a newer one, which
    another process may have registered.
    """

    def __init__(
        self,
        repository: WorkflowDefinitionRepository,
        clock: Clock,
        latest_for: timedelta = timedelta(seconds=1),
    ) -> None:
        self._repository = repository
        self._clock = clock
        self._latest_for = latest_for.total_seconds()
        self._compiled: dict[tuple[str, int], WorkflowDefinition] = {}
        #: name -> highest version and when it was looked up, on the monotonic clock
        self._latest: dict[str, tuple[WorkflowDefinition, float]] = {}

    def cached(self, reference: str, version: int | None = None) -> WorkflowDefinition | None:
        """Like `get`, but only from memory. None also if the definition must be looked up (again)."""
        key = definition_named(reference, version)
        if key is None:
            return None
        name, wanted = key
        if wanted is not None:
            return self._compiled.get((name, wanted))
        latest = self._latest.get(name)
        if latest is None or self._clock.monotonic() - latest[1] > self._latest_for:
            return None
        return latest[0]

    async def get(self, reference: str, version: int | None = None) -> WorkflowDefinition | None:
        """By name and version, by name (the highest version at this moment) or by id.

        None if it is not registered, or if the id's version is not `version`. Raises Unavailable, and
        InvalidDefinition for a definition that a newer service registered and this one cannot read.
        """
        key = definition_named(reference, version)
        if key is None:
            return None
        name, wanted = key
        if wanted is None:
            return await self._find_latest(name)
        known = self._compiled.get((name, wanted))
        if known is not None:
            return known
        document = await self._repository.get(name, wanted)
        return None if document is None else self._keep(restore_definition(document))

    async def register(self, document: Document) -> Literal["created", "same"]:
        """Prove the definition safe and store it, or find it stored with the same content.

        Raises InvalidDefinition, DefinitionConflict, Unavailable.
        """
        definition = compile_definition(document)
        if await self._repository.add(document):
            self._keep(definition)
            self._latest.pop(definition.name, None)
            return "created"
        stored = await self._repository.get(definition.name, definition.version)
        if stored is None or _content_hash(stored) != _content_hash(document):
            raise DefinitionConflict(definition.id)
        self._keep(definition)
        return "same"

    async def _find_latest(self, name: str) -> WorkflowDefinition | None:
        asked_at = self._clock.monotonic()
        document = await self._repository.latest(name)
        if document is None:
            return None
        known = self._compiled.get((name, document["version"]))
        latest = known or self._keep(restore_definition(document))
        self._latest[name] = (latest, asked_at)
        return latest

    def _keep(self, definition: WorkflowDefinition) -> WorkflowDefinition:
        """The one object for this version from now on: the first that was compiled."""
        return self._compiled.setdefault((definition.name, definition.version), definition)


def _content_hash(document: Document) -> str:
    return read_definition(document).content_hash

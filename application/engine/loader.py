"""Loading aggregates: document + log tail, always with the tail (PROTOCOL rules 6, 12 and 14)."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from application.aggregates.aggregate import Aggregate, Catalog, DefinitionKey
from application.codec.events import restore
from application.codec.internal import is_own
from application.codec.times import parse_time
from application.engine.hot import Hot
from application.engine.memory import Memory
from application.outputs import kept_bytes
from application.ports import (
    Commit,
    DefinitionOf,
    Document,
    Entry,
    EventLog,
    FindDefinition,
    Projections,
)
from domain.aggregate.kind import HistoryError
from domain.definition.definition import WorkflowDefinition


@dataclass(frozen=True, slots=True)
class Loaded:
    """An aggregate, and those of its commits that its projection does not have yet."""

    hot: Hot
    #: They may never have been published (PROTOCOL rule 6).
    tail: Sequence[Commit]


class Loader:
    """Reads aggregates from the stores."""

    def __init__(
        self,
        event_log: EventLog,
        projections: Projections,
        find_definition: FindDefinition,
        catalog: Catalog,
    ) -> None:
        self._log = event_log
        self._projections = projections
        self._find_definition = find_definition
        self._catalog = catalog

    async def load(self, ids: Sequence[str]) -> Mapping[str, Loaded]:
        """Those of the aggregates that exist. Raises Unavailable, HistoryError."""
        documents = await self._projections.load(ids)
        versions = {id_: documents[id_]["version"] if id_ in documents else 0 for id_ in ids}
        tails = await self._log.read(versions)
        definition_of = await self._definitions(documents, tails)
        loaded: dict[str, Loaded] = {}
        for aggregate_id in versions:
            aggregate = self._catalog.of(aggregate_id)
            document = documents.get(aggregate_id)
            tail = tails.get(aggregate_id, ())
            hot = None
            if document is not None:
                hot = Hot.from_document(aggregate, document, definition_of)
            hot = replayed(aggregate, hot, tail, definition_of)
            if hot is not None:
                loaded[aggregate_id] = Loaded(hot, tail)
        return loaded

    async def _definitions(
        self, documents: Mapping[str, Document], tails: Mapping[str, Sequence[Commit]]
    ) -> DefinitionOf:
        """A synchronous look-up of every definition that the documents and tails name."""
        wanted: set[DefinitionKey] = set()
        stored = [*documents.items()]
        stored.extend(
            (id_, tail[0].entries[0].events[0].data) for id_, tail in tails.items() if tail
        )
        for aggregate_id, document in stored:
            key = self._catalog.of(aggregate_id).definition_key(document)
            if key is not None:
                wanted.add(key)
        found: dict[tuple[str, int], WorkflowDefinition] = {}
        # In an order that no hash decides, so that a simulated run is the same everywhere.
        for name, version in sorted(wanted):
            definition = await self._find_definition(name, version)
            if definition is None:
                raise HistoryError(
                    f"{name} v{version} is used by stored workflows and not registered;"
                    " register it again: `conveyor definitions apply`"
                )
            found[name, version] = definition
        return lambda name, version: found[name, version]


def replayed(
    aggregate: Aggregate[Any],
    hot: Hot | None,
    tail: Sequence[Commit],
    definition_of: DefinitionOf,
) -> Hot | None:
    """The aggregate with the commits of the tail folded in."""
    if not tail:
        return hot
    kind = aggregate.kind
    state = hot.state if hot is not None else None
    memory = hot.memory if hot is not None else Memory()
    for commit in tail:
        for entry in commit.entries:
            for event in entry.events:
                state = kind.evolve(state, restore(kind, event, definition_of), commit.aggregate_id)
            memory = remembered(memory, entry)
    projected = hot.projected if hot is not None else 0
    return Hot(aggregate, state, memory, projected)


def remembered(memory: Memory, entry: Entry) -> Memory:
    """The memory after an entry of the log.

    The topic of its cause does not make a message a command, since a command is taken on either topic, so replies'
    ids count here too: that only makes the window of newest ids fill sooner, and what left it is looked up in the
    log. The engine's own messages do not count; a claim is caused by what was done before it, so it applies nothing
    new.
    """
    recorded_at = parse_time(entry.events[0].data["occurredAt"])
    return memory.after(
        entry.cause,
        None if is_own(entry.message_id) else entry.message_id,
        int(recorded_at.timestamp() * 1000),
        kept_bytes(entry),
    )

"""Loading aggregates: the projected document plus the tail of the log, always (PROTOCOL rules 6, 12 and 14)."""

from __future__ import annotations

from collections.abc import Generator, Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, NamedTuple

import structlog

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
    Unavailable,
)
from domain.aggregate.kind import HistoryError
from domain.definition.definition import WorkflowDefinition

log = structlog.get_logger("WorkflowEngine")


@dataclass(frozen=True, slots=True)
class Loaded:
    """An aggregate, and the commits that its projection lacks."""

    hot: Hot
    #: They may never have been published (PROTOCOL rule 6).
    tail: Sequence[Commit]


class UnreadablePartition(HistoryError):
    """A partition contains something that this version cannot read; the message names it.

    The partition stops there. None of it is committed, so that a newer version can continue.
    """

    def __init__(self, partition: int, detail: str) -> None:
        super().__init__(detail)
        self.partition = partition


class _Stored(NamedTuple):
    """What the stores have of one aggregate: a document, a tail, or both."""

    document: Document | None
    tail: Sequence[Commit]

    def naming_definitions(self) -> Iterator[Document]:
        if self.document is not None:
            yield self.document
        if self.tail:
            yield self.tail[0].entries[0].events[0].data


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

    async def load(self, wanted: Mapping[str, int]) -> Mapping[str, Loaded]:
        """The aggregates that exist, by id.

        `wanted` maps each id to the partition for which it is read. That partition stops if the aggregate cannot be
        read. Raises Unavailable, UnreadablePartition.
        """
        ids = await self._of_known_kinds(wanted)
        projected = await self._projections.load(ids)
        documents: dict[str, Document] = {}
        versions = dict.fromkeys(ids, 0)
        for aggregate_id, document in projected.items():
            with _stopping(wanted, aggregate_id):
                if self._catalog.of(aggregate_id).is_whole(document):
                    versions[aggregate_id] = document["version"]
                    documents[aggregate_id] = document
        tails = await self._log.read(versions)
        definitions: dict[tuple[str, int], WorkflowDefinition] = {}
        loaded: dict[str, Loaded] = {}
        for aggregate_id in versions:
            stored = _Stored(documents.get(aggregate_id), tails.get(aggregate_id, ()))
            if stored.document is None and not stored.tail:
                continue
            with _stopping(wanted, aggregate_id):
                found = await self._read(aggregate_id, stored, definitions)
                if stored.document is None and aggregate_id in projected:
                    found = _projected_at(found, projected[aggregate_id]["version"])
                loaded[aggregate_id] = found
        return loaded

    async def _of_known_kinds(self, wanted: Mapping[str, int]) -> Sequence[str]:
        """The ids of known kinds. If an aggregate of an unknown kind exists, its partition is unreadable."""
        known: list[str] = []
        for aggregate_id, partition in wanted.items():
            try:
                self._catalog.of(aggregate_id)
            except HistoryError as fault:
                if await self._log.read({aggregate_id: 0}):
                    raise UnreadablePartition(partition, str(fault)) from fault
            else:
                known.append(aggregate_id)
        return known

    async def _read(
        self,
        aggregate_id: str,
        stored: _Stored,
        definitions: dict[tuple[str, int], WorkflowDefinition],
    ) -> Loaded:
        """One aggregate. `definitions` caches the definitions found so far."""
        aggregate = self._catalog.of(aggregate_id)
        for document in stored.naming_definitions():
            key = aggregate.definition_key(document)
            if key is not None and key not in definitions:
                definitions[key] = await self._definition(key)

        def definition_of(name: str, version: int) -> WorkflowDefinition:
            return definitions[name, version]

        hot = None
        if stored.document is not None:
            hot = Hot.from_document(aggregate, stored.document, definition_of)
        hot = replayed(aggregate, hot, stored.tail, definition_of)
        assert hot is not None
        return Loaded(hot, stored.tail)

    async def _definition(self, key: DefinitionKey) -> WorkflowDefinition:
        definition = await self._find_definition(*key)
        if definition is None:
            raise HistoryError(
                f"{key.name} v{key.version} is used by stored workflows and not registered;"
                " register it again: `conveyor definitions apply`"
            )
        return definition


@contextmanager
def _stopping(wanted: Mapping[str, int], aggregate_id: str) -> Generator[None]:
    """Any error in the block stops the partition for which the aggregate is read."""
    try:
        yield
    except Unavailable:
        raise
    # What cannot be read stops its partition, whatever the reader raises (ADR 29).
    except Exception as fault:
        detail = str(fault)
        if not isinstance(fault, HistoryError):
            log.exception("reading failed", aggregate_id=aggregate_id)
            detail = f"{type(fault).__name__}: {fault}; a newer Conveyor may have written it"
        raise UnreadablePartition(
            wanted[aggregate_id], f"{aggregate_id} cannot be read: {detail}"
        ) from fault


def _projected_at(loaded: Loaded, version: int) -> Loaded:
    """An aggregate whose document lacks part of the state. All of its log was read; only later commits are its tail."""
    loaded.hot.projected = version
    return Loaded(loaded.hot, [each for each in loaded.tail if each.last_version > version])


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

    An entry does not show whether its cause was a command, since commands are accepted on both topics. So the ids of
    replies count too. That only fills the window of newest ids sooner, and ids that left it are looked up in the log.
    The engine's own messages do not count. A claim applies nothing new: its cause was applied before.
    """
    recorded_at = parse_time(entry.events[0].head.occurred_at)
    return memory.after(
        entry.cause,
        None if is_own(entry.message_id) else entry.message_id,
        int(recorded_at.timestamp() * 1000),
        kept_bytes(entry),
    )

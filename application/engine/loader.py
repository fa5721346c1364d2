"""Loading instances: document + log tail, always with the tail (PROTOCOL rules 6, 12 and 14)."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from conveyor.messages import Message

from application.codec.commands import TIMER_SOURCE
from application.codec.events import PARTITION_CLAIMED, DefinitionOf, restore
from application.codec.times import parse_time
from application.engine.hot import Hot, Memory, Refusals, inbox_id
from application.outputs import outputs
from application.ports import Commit, Document, Entry, EventLog, Projections
from domain.definition.definition import WorkflowDefinition
from domain.workflow.evolve import HistoryError, evolve
from domain.workflow.instance import WorkflowInstance

#: Compiles a registered version, None if there is none such.
FindDefinition = Callable[[str, int], Awaitable[WorkflowDefinition | None]]


@dataclass(frozen=True, slots=True)
class Loaded:
    """An instance, and those of its commits that its projection does not have yet."""

    hot: Hot
    tail: Sequence[Commit]

    @property
    def unpublished(self) -> list[Message]:
        """What whoever wrote the tail may not have published (PROTOCOL rule 6)."""
        return [message for commit in self.tail for message in outputs(commit)]


class Loader:
    """Reads instances from the stores."""

    def __init__(
        self, event_log: EventLog, projections: Projections, find_definition: FindDefinition
    ) -> None:
        self._log = event_log
        self._projections = projections
        self._find_definition = find_definition

    async def load(self, ids: Sequence[str]) -> Mapping[str, Loaded]:
        """Those of the instances that exist."""
        documents = await self._projections.load(ids)
        versions = {id_: documents[id_]["version"] if id_ in documents else 0 for id_ in ids}
        tails = await self._log.read(versions)
        definition_of = await self._definitions(documents, tails)
        loaded: dict[str, Loaded] = {}
        for workflow_id in versions:
            document = documents.get(workflow_id)
            tail = tails.get(workflow_id, ())
            hot = Hot.from_document(document, definition_of) if document is not None else None
            hot = replayed(hot, tail, definition_of)
            if hot is not None:
                loaded[workflow_id] = Loaded(hot, tail)
        return loaded

    async def refusals(
        self, partitions: Iterable[int]
    ) -> Mapping[int, tuple[Refusals, Sequence[Commit]]]:
        """The inbox aggregate of each partition, and what its projection does not have yet."""
        names = {inbox_id(partition): partition for partition in partitions}
        documents = await self._projections.load(list(names))
        read = {
            name: Refusals.from_document(documents[name]) if name in documents else Refusals()
            for name in names
        }
        tails = await self._log.read({name: refusals.version for name, refusals in read.items()})
        for name, tail in tails.items():
            for commit in tail:
                fold_refusals(read[name], commit)
        return {names[name]: (refusals, tails.get(name, ())) for name, refusals in read.items()}

    async def _definitions(
        self, documents: Mapping[str, Document], tails: Mapping[str, Sequence[Commit]]
    ) -> DefinitionOf:
        """A synchronous look-up of every definition that the documents and tails name."""
        wanted = {(doc["definition"], doc["definitionVersion"]) for doc in documents.values()}
        for tail in tails.values():
            if tail:
                first = tail[0].entries[0].events[0].data
                wanted.add((first["definition"], first["definitionVersion"]))
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


def replayed(hot: Hot | None, tail: Sequence[Commit], definition_of: DefinitionOf) -> Hot | None:
    """The instance with the commits of the tail folded in."""
    if not tail:
        return hot
    instance: WorkflowInstance | None = hot.instance if hot is not None else None
    memory = hot.memory if hot is not None else Memory()
    for commit in tail:
        for entry in commit.entries:
            for event in entry.events:
                instance = evolve(instance, restore(event, definition_of), commit.workflow_id)
            memory = remembered(memory, entry)
    assert instance is not None
    projected = hot.projected if hot is not None else 0
    return Hot(instance=instance, memory=memory, projected=projected)


def fold_refusals(refusals: Refusals, commit: Commit) -> None:
    """The inbox aggregate with one more of its commits."""
    for entry in commit.entries:
        refusals.memory = remembered(refusals.memory, entry)
    refusals.version = commit.last_version


def remembered(memory: Memory, entry: Entry) -> Memory:
    """The memory after an entry of the log.

    The topic of its cause does not make a message a command, since a command is taken on either topic, so replies'
    ids count here too: that only makes the window of newest ids fill sooner, and what left it is looked up in the
    log. Timers are told by their source,
    claims by their event; a claim is caused by what was done before it, so it applies nothing new.
    """
    first = entry.events[0]
    is_own = entry.message_id.startswith(TIMER_SOURCE + " ") or first.type == PARTITION_CLAIMED
    recorded_at = parse_time(first.data["occurredAt"])
    return memory.after(
        entry.cause,
        None if is_own else entry.message_id,
        int(recorded_at.timestamp() * 1000),
        entry_bytes(entry),
    )


def entry_bytes(entry: Entry) -> int:
    """About what the entry's messages hold."""
    return sum(len(event.json) for event in entry.events)

"""Reading workflows. One read by id is never older than any earlier answer; lists may lag a second (CONTRACT 1)."""

from __future__ import annotations

from datetime import datetime, timedelta

from conveyor.times import rfc3339

from application.aggregates.catalog import CATALOG
from application.aggregates.workflow import WORKFLOW
from application.codec.events import restore
from application.codec.instances import listed, resource, to_document
from application.codec.times import parse_time
from application.engine.loader import Loader
from application.ports import (
    Clock,
    Document,
    EventLog,
    FindDefinition,
    Projections,
    WorkflowFilter,
    WorkflowQueries,
)
from domain.aggregate.kind import HistoryError
from domain.aggregate.position import Position
from domain.definition.definition import WorkflowDefinition
from domain.workflow.instance import WorkflowInstance

#: How old a list may be while engines keep up: a change waits for one round of projecting and is then written.
_LAG = timedelta(seconds=1)

#: Readers have none that could stop.
_NO_PARTITION = -1

#: Commits read at once while a page of history is filled.
_COMMITS = 200


class WorkflowReader:
    """Reads workflows for the REST API and the command line."""

    def __init__(
        self,
        event_log: EventLog,
        projections: Projections,
        queries: WorkflowQueries,
        find_definition: FindDefinition,
        clock: Clock,
    ) -> None:
        self._log = event_log
        self._loader = Loader(event_log, projections, find_definition, CATALOG)
        self._projections = projections
        self._find_definition = find_definition
        self._queries = queries
        self._clock = clock

    async def get(self, workflow_id: str) -> Document | None:
        """The resource: projection plus tail of the log (PROTOCOL rule 20)."""
        loaded = (await self._loader.load({workflow_id: _NO_PARTITION})).get(workflow_id)
        return resource(loaded.hot.document(0)) if loaded is not None else None

    async def state(self, workflow_id: str) -> WorkflowInstance | None:
        """The workflow itself, as new as its resource."""
        loaded = (await self._loader.load({workflow_id: _NO_PARTITION})).get(workflow_id)
        return loaded.hot.state if loaded is not None else None

    async def get_at(self, workflow_id: str, version: int) -> Document | None:
        """The resource as it was after this event; after the last one if there are fewer."""
        commits = (await self._log.read({workflow_id: 0})).get(workflow_id, ())
        instance: WorkflowInstance | None = None
        definitions: dict[tuple[str, int], WorkflowDefinition] = {}
        for event in (e for commit in commits for entry in commit.entries for e in entry.events):
            if instance is None:
                key = event.data["definition"], event.data["definitionVersion"]
                definition = await self._find_definition(*key)
                if definition is None:
                    raise HistoryError(
                        f"{key[0]} v{key[1]} is used by {workflow_id} and not registered"
                    )
                definitions[key] = definition
            elif instance.version >= version:
                break
            restored = restore(WORKFLOW.kind, event, lambda name, number: definitions[name, number])
            instance = WORKFLOW.kind.evolve(instance, restored, workflow_id)
        return resource(to_document(instance, 0, {})) if instance is not None else None

    async def find(self, filter: WorkflowFilter, limit: int, cursor: str | None) -> Document:
        """One page of the list. Raises ValueError for a cursor that was not issued here."""
        as_of = await self._as_of()
        page = await self._queries.find(filter, limit, cursor)
        return {
            "items": [listed(document) for document in page.items],
            "nextCursor": page.next_cursor,
            "asOf": rfc3339(as_of),
        }

    async def _as_of(self) -> datetime:
        """The time before which every decision is in the lists.

        An engine that dies before its first round after an idle time leaves no mark. So for each partition without
        a mark, this looks for commits at or above the stored start.
        """
        now = self._clock.now()
        marks = await self._projections.marks()
        behind = {mark.partition: mark.until for mark in marks if mark.until is not None}
        idle = [s for s in await self._projections.starts() if s.partition not in behind]
        unprojected = await self._log.since(
            [Position(s.topic_id, s.topic, s.partition, 0, s.offset) for s in idle]
        )
        decided = [
            parse_time(commit.entries[0].events[0].head.occurred_at) for commit in unprojected
        ]
        return min([now - _LAG, *behind.values(), *decided])

    async def history(
        self,
        workflow_id: str,
        after: int = 0,
        limit: int = 200,
        event_type: str | None = None,
        kind: str | None = None,
    ) -> Document:
        """Matching events by ascending version, at most `limit`. To continue, pass `nextCursor` as `after`."""
        items: list[Document] = []
        version = after
        while len(items) < limit:
            commits = await self._log.history(workflow_id, version, _COMMITS)
            if not commits:
                return {"workflowId": workflow_id, "items": items, "nextCursor": None}
            for commit in commits:
                for entry in commit.entries:
                    causation_id = entry.message_id.partition(" ")[2]
                    for event in entry.events:
                        data = event.data
                        seen = data["version"] <= version
                        wanted = (event_type is None or event.type == event_type) and (
                            kind is None or event.kind == kind
                        )
                        if seen or not wanted or len(items) >= limit:
                            continue
                        items.append(_history_item(event.type, event.kind, data, causation_id))
            version = commits[-1].last_version
        last = items[-1]["version"]
        return {"workflowId": workflow_id, "items": items, "nextCursor": str(last)}


def _history_item(event_type: str, kind: str | None, data: Document, causation_id: str) -> Document:
    item: Document = {
        "version": data["version"],
        "eventId": data["eventId"],
        "type": event_type,
        "eventType": data["eventType"],
        "occurredAt": data["occurredAt"],
        "actor": data["actor"],
        "causationId": causation_id,
        "data": data,
    }
    if kind is not None:
        item["kind"] = kind
    return item

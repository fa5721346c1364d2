"""Reads a whole store, live or at rest, and compares log, projections and published events.

The log is written before events are published and before projections follow. So the topic is read first, then the
projections of each range of ids, then its commits. Whatever is written meanwhile can only make the log newer.
"""

from __future__ import annotations

from collections.abc import AsyncIterator, Mapping, Sequence
from datetime import datetime, timedelta

from application.aggregates.aggregate import Catalog
from application.ports import (
    Clock,
    Document,
    FindDefinition,
    PublishedEvents,
    StoredCommit,
    StoreScan,
)
from application.verification.findings import Finding, Kind, Report, shown
from application.verification.history import History, Unseen
from application.verification.publications import Publications, Seen
from domain.definition.definition import WorkflowDefinition

#: Projections follow within a second, publications at once; this also allows for a takeover.
ALLOWED_DELAY = timedelta(seconds=10)
_PROJECTIONS_AT_ONCE = 500
_LOOK_AGAIN_SECONDS = 0.2


class Verifier:
    """Checks one store once."""

    def __init__(
        self,
        store: StoreScan,
        published: PublishedEvents,
        find_definition: FindDefinition,
        clock: Clock,
        catalog: Catalog,
        allowed_delay: timedelta = ALLOWED_DELAY,
    ) -> None:
        self._store = store
        self._published = published
        self._find_definition = find_definition
        self._clock = clock
        self._catalog = catalog
        self._allowed_delay = allowed_delay
        self._settle_for = timedelta()
        self._started = clock.now()
        self._publications = Publications((), self._started)
        self._definitions: dict[tuple[str, int], WorkflowDefinition] = {}
        self._report = Report()
        #: Instances whose projection is behind or missing: id -> version of the log.
        self._waiting: dict[str, int] = {}

    async def run(self, settle: timedelta = timedelta()) -> Report:
        """Check everything. Wait up to `settle` for projections that are behind. Raises Unavailable."""
        self._started = self._clock.now()
        self._settle_for = settle
        ranges = await self._published.ranges()
        self._publications = Publications(ranges, self._started)
        async for record in self._published.read(ranges):
            self._report.published += 1
            fault = self._publications.add(record)
            if fault is not None:
                self._report.add(fault)
        await self._walk()
        for aggregate_id, seen in self._publications.untaken():
            detail = f"{shown([*seen])} published, there is no log"
            self._report.add(Finding(aggregate_id, Kind.UNLOGGED, detail))
        if settle:
            await self._settle(self._clock.monotonic() + settle.total_seconds())
        return self._report

    # -- everything once -----------------------------------------------------------------------

    async def _walk(self) -> None:
        """All instances in the order of their ids, by ranges of projections."""
        first = ""
        while True:
            page = await self._store.projections(first, _PROJECTIONS_AT_ONCE)
            last = str(page[-1]["_id"]) if len(page) == _PROJECTIONS_AT_ONCE else None
            await self._walk_range(page, first, last)
            if last is None:
                return
            first = _after(last)

    async def _walk_range(self, page: Sequence[Document], first: str, last: str | None) -> None:
        documents = {str(document["_id"]): document for document in page}
        self._report.projections += len(documents)
        async for history in self._histories(documents, first, last, with_publications=True):
            documents.pop(history.aggregate_id, None)
            self._judge(history)
        for aggregate_id, document in documents.items():
            detail = f"projected at version {document.get('version')}, there is no log"
            self._report.add(Finding(aggregate_id, Kind.ORPHAN, detail))

    async def _histories(
        self,
        documents: Mapping[str, Document],
        first: str,
        last: str | None,
        *,
        with_publications: bool,
    ) -> AsyncIterator[History]:
        """Every instance of the range that has a log, read to its end."""
        history: History | None = None
        async for stored in self._store.commits(first, last):
            aggregate_id = stored.commit.aggregate_id
            if history is None or history.aggregate_id != aggregate_id:
                if history is not None:
                    history.end()
                    yield history
                seen = self._publications.take(aggregate_id) if with_publications else Seen()
                document = documents.get(aggregate_id)
                history = History(
                    self._catalog.of(aggregate_id),
                    aggregate_id,
                    document,
                    seen,
                    self._definition_of,
                )
                await self._learn_definition(stored)
            history.add(stored)
            if with_publications:
                self._report.commits += 1
        if history is not None:
            history.end()
            yield history

    async def _learn_definition(self, first: StoredCommit) -> None:
        """Look up the definition that the first event of an instance names, if any."""
        for event in (event for entry in first.commit.entries[:1] for event in entry.events[:1]):
            data = event.data
            name, version = data.get("definition"), data.get("definitionVersion")
            known = (name, version) in self._definitions
            if isinstance(name, str) and isinstance(version, int) and not known:
                definition = await self._find_definition(name, version)
                if definition is not None:
                    self._definitions[name, version] = definition

    def _definition_of(self, name: str, version: int) -> WorkflowDefinition:
        definition = self._definitions.get((name, version))
        if definition is None:
            raise LookupError(f"definition {name} v{version} is not registered")
        return definition

    # -- judging -------------------------------------------------------------------------------

    def _judge(self, history: History) -> None:
        report = self._report
        report.instances += 1
        report.events += history.version - history.claims
        for finding in history.findings:
            report.add(finding)
        self._judge_publications(history)
        if history.projected >= history.to_project:
            return
        self._waiting[history.aggregate_id] = history.to_project
        since = history.behind_since or self._started
        if history.document is None and self._is_overdue(since) and not self._settle_for:
            report.add(_missing(history.aggregate_id, history.version, None))
        else:
            report.behind += 1

    def _judge_publications(self, history: History) -> None:
        absent: list[int] = []
        for unseen in history.unseen:
            if self._is_beyond_retention(unseen):
                self._report.not_checkable += 1
            elif self._is_overdue(unseen.occurred_at):
                absent.append(unseen.version)
            else:
                self._report.unpublished_yet += 1
        if absent:
            detail = f"{shown(absent)} of {history.version} not on the topic"
            self._report.add(Finding(history.aggregate_id, Kind.UNPUBLISHED, detail))
        late = [each.version for each in history.late if not self._is_beyond_retention(each)]
        if late:
            detail = f"{shown(late)} published after a higher one"
            self._report.add(Finding(history.aggregate_id, Kind.ORDER, detail))

    def _is_overdue(self, since: datetime) -> bool:
        return since < self._started - self._allowed_delay

    def _is_beyond_retention(self, unseen: Unseen) -> bool:
        """The clocks of engines differ, so the edge is as wide as a delay."""
        horizon = self._publications.horizon(unseen.partition)
        return horizon is not None and unseen.occurred_at <= horizon + self._allowed_delay

    # -- what is behind ------------------------------------------------------------------------

    async def _settle(self, deadline: float) -> None:
        """Repeat the check of projections that are behind until they have caught up."""
        while True:
            for aggregate_id, version in list(self._waiting.items()):
                if await self._has_caught_up(aggregate_id, version):
                    del self._waiting[aggregate_id]
            if not self._waiting or self._clock.monotonic() >= deadline:
                break
            await self._clock.sleep(_LOOK_AGAIN_SECONDS)
        self._report.behind = len(self._waiting)
        for aggregate_id, version in self._waiting.items():
            document = await self._document(aggregate_id)
            self._report.add(_missing(aggregate_id, version, document))

    async def _has_caught_up(self, aggregate_id: str, version: int) -> bool:
        document = await self._document(aggregate_id)
        if document is None or _version_of(document) < version:
            return False
        documents = {aggregate_id: document}
        async for history in self._histories(
            documents, aggregate_id, aggregate_id, with_publications=False
        ):
            for finding in history.findings:
                if finding.kind in _OF_PROJECTIONS:
                    self._report.add(finding)
        return True

    async def _document(self, aggregate_id: str) -> Document | None:
        for document in await self._store.projections(aggregate_id, 1):
            if document["_id"] == aggregate_id:
                return document
        return None


_OF_PROJECTIONS = frozenset({Kind.PROJECTION, Kind.AHEAD})


def _version_of(document: Document) -> int:
    version = document.get("version")
    return version if isinstance(version, int) else 0


def _missing(aggregate_id: str, version: int, document: Document | None) -> Finding:
    if document is None:
        return Finding(
            aggregate_id, Kind.MISSING, f"the log is at version {version}, not projected"
        )
    detail = f"projected at version {document.get('version')}, the log is at {version}"
    return Finding(aggregate_id, Kind.BEHIND, detail)


def _after(aggregate_id: str) -> str:
    """Above this id and below every longer one: a space sorts before all that ids consist of."""
    return f"{aggregate_id} "

"""Documents that an older release projected lack what has become part of the state since: open incidents."""

from __future__ import annotations

import orjson
import pytest

from adapters.memory.event_log import MemoryEventLog
from adapters.memory.projections import MemoryProjections
from application.aggregates.catalog import CATALOG
from application.aggregates.workflow import WORKFLOW
from application.codec.events import record
from application.codec.instances import resource
from application.engine.hot import Hot
from application.engine.loader import Loader, remembered
from application.engine.memory import Memory
from application.ports import Commit, Document, Entry, StoredCommit
from application.verification.findings import Kind
from application.verification.history import History
from application.verification.publications import Seen
from domain.aggregate.position import Position
from domain.definition.definition import WorkflowDefinition
from tests.domain.sagas import Saga
from tests.domain.test_incidents import undo_failed


class Store:
    """The log of a workflow with an open incident, and its document without it."""

    def __init__(self) -> None:
        self.saga = undo_failed()
        self.log, self.projections = MemoryEventLog(), MemoryProjections()
        self.commit = commit_of(self.saga)
        memory = remembered(Memory(), self.commit.entries[0])
        document = Hot(WORKFLOW, self.saga.instance, memory).document(0)
        self.document: Document = orjson.loads(orjson.dumps(document, default=dict))
        assert self.document.pop("incidents")

    async def find(self, name: str, version: int | None) -> WorkflowDefinition | None:
        return self.saga.definition

    async def loader(self) -> Loader:
        await self.log.append([self.commit])
        await self.projections.save([self.document])
        return Loader(self.log, self.projections, self.find, CATALOG)


def commit_of(saga: Saga) -> Commit:
    events = tuple(
        record(WORKFLOW, event, saga.instance, version)
        for version, event in enumerate(saga.history, 1)
    )
    entry = Entry(Position("id", "orchestration.workflow.commands", 0, 0, 0), "/t 1", events, 1)
    return Commit(saga.workflow_id, 1, 0, (entry,))


@pytest.fixture
def store() -> Store:
    return Store()


async def test_the_state_is_read_from_the_log(store: Store) -> None:
    """And nothing is published again that the document had."""
    loaded = (await (await store.loader()).load({"wf-1": 0}))["wf-1"]

    assert loaded.hot.state == store.saga.instance
    assert loaded.hot.projected == store.saga.instance.version
    assert not loaded.tail


async def test_what_is_not_projected_follows(store: Store) -> None:
    """A commit behind the document is part of the tail, as ever."""
    loader = await store.loader()
    before = len(store.saga.history)
    store.saga.compensates()
    events = tuple(
        record(WORKFLOW, event, store.saga.instance, before + n)
        for n, event in enumerate(store.saga.events, 1)
    )
    cause = Position("id", "orchestration.workflow.commands", 0, 0, 1)
    later = Commit("wf-1", before + 1, 0, (Entry(cause, "/t 2", events, 1),))
    await store.log.append([later])

    loaded = (await loader.load({"wf-1": 0}))["wf-1"]

    assert loaded.hot.state == store.saga.instance
    assert [commit.id for commit in loaded.tail] == [later.id]


def test_verify_takes_it_as_it_is(store: Store) -> None:
    history = History(WORKFLOW, "wf-1", store.document, Seen(), lambda _, __: store.saga.definition)

    history.add(StoredCommit(store.commit.id, store.commit.last_version, store.commit))
    history.end()

    assert Kind.PROJECTION not in {finding.kind for finding in history.findings}


def test_lists_show_it_without_incidents(store: Store) -> None:
    assert resource(store.document)["incidents"] == []

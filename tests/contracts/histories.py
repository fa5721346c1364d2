"""Whole stores as engines leave them: real courses of workflows with their projections and publications."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from conveyor import topics
from conveyor.messages import Message, Record

from application.aggregates.catalog import CATALOG
from application.aggregates.inbox import INBOX
from application.aggregates.workflow import WORKFLOW
from application.codec.events import record
from application.codec.internal import signed_with
from application.engine.loader import replayed
from application.outputs import outputs
from application.ports import Commit, Document, Entry, RecordedEvent
from domain.aggregate.event import DomainEvent
from domain.definition.definition import WorkflowDefinition
from domain.inbox import InboxState, PartitionClaimed, RefusedUnknown
from domain.values import changed
from domain.workflow.evolve import evolve
from domain.workflow.instance import WorkflowInstance
from tests.contracts.samples import COMMANDS, REPLIES, position
from tests.domain.goldens import DEFINITIONS, SAGAS
from tests.domain.sagas import T0

#: When the workflows ran: well before whoever looks at them.
LONG_AGO = timedelta(hours=1)
_EVENTS_PER_COMMIT = 4


async def find_definition(name: str, version: int) -> WorkflowDefinition | None:
    return DEFINITIONS.get((name, version))


@dataclass
class StoreContent:
    """What a store and its events topic hold; to be damaged before it is written."""

    commits: list[Commit]
    documents: list[Document]
    messages: list[Message | Record]

    def commits_of(self, workflow_id: str) -> list[Commit]:
        return [commit for commit in self.commits if commit.aggregate_id == workflow_id]

    def document_of(self, workflow_id: str) -> Document:
        return next(document for document in self.documents if document["_id"] == workflow_id)

    def place_of(self, event_id: str) -> int:
        """Where the event stands among the messages."""
        return next(
            place
            for place, message in enumerate(self.messages)
            if isinstance(message, Message) and message.id == event_id
        )


def content(*, ago: timedelta = LONG_AGO) -> StoreContent:
    """Two workflows that ended, one that is under way, and the refusals of an inbox."""
    histories = {
        "wf-completed": SAGAS["completed"](),
        "wf-compensated": SAGAS["compensated"](),
        "wf-running": SAGAS["compensated"]()[:6],
    }
    return content_of(histories, ago=ago)


def content_of(
    histories: Mapping[str, Sequence[DomainEvent]], *, ago: timedelta = LONG_AGO
) -> StoreContent:
    """These workflows and the refusals of an inbox."""
    began = datetime.now(UTC).replace(microsecond=0) - ago
    commits = refusals(began)
    for workflow_id, history in histories.items():
        commits += commits_of(workflow_id, shifted(history, began))
    ids = dict.fromkeys(commit.aggregate_id for commit in commits)
    documents = [projection([c for c in commits if c.aggregate_id == each]) for each in ids]
    return StoreContent(commits, documents, publications(commits))


def shifted(history: Sequence[DomainEvent], began: datetime) -> list[DomainEvent]:
    """The history as of another time."""
    return [changed(event, occurred_at=event.occurred_at - T0 + began) for event in history]


def commits_of(workflow_id: str, history: Sequence[DomainEvent]) -> list[Commit]:
    """The history as commits of a few events, two entries each."""
    instance: WorkflowInstance | None = None
    recorded: list[RecordedEvent] = []
    for version, event in enumerate(history, 1):
        instance = evolve(instance, event, workflow_id)
        recorded.append(record(WORKFLOW, event, instance, version))
    firsts = range(0, len(recorded), _EVENTS_PER_COMMIT)
    return [
        commit_of(workflow_id, first + 1, recorded[first : first + _EVENTS_PER_COMMIT])
        for first in firsts
    ]


def commit_of(workflow_id: str, first_version: int, events: Sequence[RecordedEvent]) -> Commit:
    """A commit of these events: the first by a command, the others by a reply."""
    entries = [
        Entry(
            position(first_version * 10 + place, topic=topic),
            f"/orders {first_version}-{place}",
            part,
        )
        for place, (topic, part) in enumerate(
            ((COMMANDS, tuple(events[:1])), (REPLIES, tuple(events[1:])))
        )
        if part
    ]
    return Commit(workflow_id, first_version, 0, tuple(entries))


def _inbox(version: int) -> InboxState:
    return InboxState(id="inbox:0", version=version)


def refusals(began: datetime) -> list[Commit]:
    """A takeover's claim, and some refusals after it."""
    claim = record(INBOX, PartitionClaimed(occurred_at=began, partition=0), _inbox(1), 1)
    commits = [Commit("inbox:0", 1, 0, (Entry(position(-1), "/conveyor inbox:0:1", (claim,)),))]
    return [*commits, *refused(range(2, 5), began)]


def refused(versions: Iterable[int], began: datetime) -> list[Commit]:
    """Commands to workflows that do not exist: one commit each."""
    commits: list[Commit] = []
    for version in versions:
        event = RefusedUnknown(
            aggregate_id=f"wf-unknown-{version}",
            occurred_at=began,
            actor="/orders",
            command_id=f"cmd-{version}",
            command_type="orchestration.workflow.pause",
            code="NOT_FOUND",
            detail="there is no such workflow",
        )
        refusal = record(INBOX, event, _inbox(version), version)
        commits.append(commit_of("inbox:0", version, [refusal]))
    return commits


def projection(commits: Sequence[Commit]) -> Document:
    """The document that follows from these commits of one aggregate."""
    aggregate = CATALOG.of(commits[0].aggregate_id)
    hot = replayed(aggregate, None, commits, lambda name, version: DEFINITIONS[name, version])
    assert hot is not None
    return hot.document(0)


def publications(commits: Sequence[Commit]) -> list[Message | Record]:
    """The events of the commits as they are published."""
    return [
        message
        for commit in commits
        for message in outputs(commit, signed_with(b""))
        if message.topic == topics.EVENTS
    ]

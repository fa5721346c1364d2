"""What must hold whatever was killed, frozen, cut or full. Each check yields a sentence per violation."""

from __future__ import annotations

import json
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence

from conveyor import topics

from application.aggregates.workflow import WORKFLOW
from application.codec.instances import from_document
from application.codec.internal import signed_with
from application.definitions import shipped_definitions
from application.definitions.compilation import compile_definition
from application.engine.loader import replayed
from application.outputs import outputs
from application.ports import Commit, Document, RecordedEvent
from domain.definition.definition import WorkflowDefinition
from domain.workflow.instance import WorkflowInstance
from tests.faults.evidence import Evidence
from tests.faults.load import COMPENSATED, COMPLETED, Order

_INBOX = "inbox:"

_SHIPPED = {
    (definition.name, definition.version): definition
    for definition in map(compile_definition, shipped_definitions())
}


def definition_of(name: str, version: int) -> WorkflowDefinition:
    return _SHIPPED[name, version]


def folds(evidence: Evidence) -> Mapping[str, WorkflowInstance]:
    """Every workflow as its log tells it."""
    found: dict[str, WorkflowInstance] = {}
    for workflow_id, commits in evidence.commits.items():
        if not workflow_id.startswith(_INBOX):
            hot = replayed(WORKFLOW, None, commits, definition_of)
            assert hot is not None
            found[workflow_id] = hot.state
    return found


def violations(evidence: Evidence, orders: Sequence[Order]) -> list[str]:
    """Everything that is wrong when these sagas, and no others, should have ended."""
    gaps = list(log_is_gapless(evidence))
    if gaps:
        return gaps  # no state can be folded from such a log
    instances = folds(evidence)
    return [
        *sagas_ended(instances, orders),
        *published_is_log(evidence),
        *projection_is_fold(evidence, instances),
        *effects_are_true(evidence, instances),
    ]


def log_is_gapless(evidence: Evidence) -> Iterator[str]:
    """Commits follow each other, and their events are 1..n."""
    for aggregate, commits in evidence.commits.items():
        if not aggregate.startswith(_INBOX):
            versions = [event.data["version"] for event in _events(commits)]
            if versions != list(range(1, len(versions) + 1)):
                yield f"{aggregate}: the log has the versions {versions}"
        following = 1
        for commit in commits:
            if commit.first_version != following:
                yield f"{aggregate}: a commit begins at {commit.first_version}, not {following}"
            following = commit.last_version + 1


def _events(commits: Sequence[Commit]) -> list[RecordedEvent]:
    return [event for commit in commits for entry in commit.entries for event in entry.events]


def sagas_ended(
    instances: Mapping[str, WorkflowInstance], orders: Sequence[Order]
) -> Iterator[str]:
    """Each is there once and has ended as it should; a time-out may have turned one back."""
    for unexpected in instances.keys() - {order.id for order in orders}:
        yield f"{unexpected}: nobody started it"
    for order in orders:
        instance = instances.get(order.id)
        if instance is None:
            yield f"{order.id}: lost"
        elif instance.status == COMPENSATED and order.end == COMPLETED:
            if not any(error.error_type == "TIMEOUT" for error in instance.errors):
                yield f"{order.id}: COMPENSATED without a time-out: {instance.errors}"
        elif instance.status != order.end:
            yield f"{order.id}: {instance.status}, not {order.end}"
        if instance is not None and instance.unresolved:
            yield f"{order.id}: ended with {instance.unresolved} unresolved"


def published_is_log(evidence: Evidence) -> Iterator[str]:
    """The topic has every event of the log and no other; first occurrences in order, copies alike."""
    published: defaultdict[str, dict[str, bytes]] = defaultdict(dict)
    for record in evidence.published:
        first = published[record.key].setdefault(record.id, record.value)
        if first != record.value:
            yield f"{record.key}: {record.id} was published with two contents"
    for aggregate, commits in evidence.commits.items():
        if aggregate.startswith(_INBOX):
            continue
        expected = [
            (message.id, message.data)
            for commit in commits
            for message in outputs(commit, signed_with(b""))
            if message.topic == topics.EVENTS
        ]
        found = list(published.pop(aggregate, {}).items())
        if [id for id, _ in found] != [id for id, _ in expected]:
            yield f"{aggregate}: published {_ids(found)}, the log has {_ids(expected)}"
        elif _decoded(found) != _decoded(expected):
            yield f"{aggregate}: what was published is not what the log has"
    refusals = {each for each in evidence.commits if each.startswith(_INBOX)}
    for aggregate, records in published.items():
        of_refusals = all(id.startswith(_INBOX) for id in records)
        if not (of_refusals and refusals):
            yield f"{aggregate}: events were published that are not in the log"


def _ids(pairs: Sequence[tuple[str, bytes]]) -> list[str]:
    return [id.rpartition(":")[2] for id, _ in pairs]


def _decoded(pairs: Sequence[tuple[str, bytes]]) -> list[Document]:
    return [json.loads(value) for _, value in pairs]


def projection_is_fold(
    evidence: Evidence, instances: Mapping[str, WorkflowInstance]
) -> Iterator[str]:
    """The document of every workflow is the whole fold of its log."""
    for workflow_id, instance in instances.items():
        document = evidence.projections.get(workflow_id)
        if document is None or document["version"] != instance.version:
            version = document and document["version"]
            yield f"{workflow_id}: projected at {version}, the log is at {instance.version}"
        elif from_document(document, definition_of) != instance:
            yield f"{workflow_id}: the projection is not the fold of the log"


def projection_is_a_prefix(evidence: Evidence) -> Iterator[str]:
    """The document of every workflow is the fold of its log up to some version: nothing is torn."""
    for workflow_id, document in evidence.projections.items():
        if workflow_id.startswith(_INBOX):
            continue
        commits = [
            commit
            for commit in evidence.commits.get(workflow_id, ())
            if commit.last_version <= document["version"]
        ]
        hot = replayed(WORKFLOW, None, commits, definition_of)
        if hot is None or from_document(document, definition_of) != hot.state:
            yield f"{workflow_id}: projected at {document['version']}, which the log does not tell"


def effects_are_true(
    evidence: Evidence, instances: Mapping[str, WorkflowInstance]
) -> Iterator[str]:
    """The warehouse did each step once, what the saga believes and no other, and undid it backwards."""
    for key, count in Counter(evidence.effects).items():
        if count > 1:
            yield f"{key}: the effect happened {count} times"
    done: defaultdict[str, list[str]] = defaultdict(list)
    undone: defaultdict[str, list[str]] = defaultdict(list)
    for key in evidence.effects:
        workflow_id, step_id, *rest = key.split("/")
        (undone if "undo" in rest else done)[workflow_id].append(step_id)
    for workflow_id in (done.keys() | undone.keys()) - instances.keys():
        yield f"{workflow_id}: effects of a workflow that is not in the log"
    for workflow_id, instance in instances.items():
        yield from _is_true(instance, done[workflow_id], undone[workflow_id])


def _is_true(
    instance: WorkflowInstance, done: Sequence[str], undone: Sequence[str]
) -> Iterator[str]:
    """Effects in their order against the state; the shipped definition is a chain."""
    chain = [step.id for step in instance.definition.steps]
    if list(done) != chain[: len(done)]:
        yield f"{instance.id}: performed {done}"
    expected = list(reversed(done)) if instance.status == COMPENSATED else []
    if list(undone) != expected:
        yield f"{instance.id}: {instance.status}, performed {done}, undone {undone}"
    if instance.status == COMPLETED and list(done) != chain:
        yield f"{instance.id}: COMPLETED, performed {done}"

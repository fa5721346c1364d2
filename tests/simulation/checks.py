"""What must hold at the end of a run, whatever went wrong (PROTOCOL): every violation as a sentence."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta

import orjson
from conveyor import topics, types
from conveyor.messages import Message

from adapters.memory.virtual_time import drive
from application.aggregates.workflow import WORKFLOW
from application.codec.commands import is_command
from application.codec.events import restore
from application.codec.instances import from_document
from application.codec.internal import signed_with
from application.outputs import outputs
from application.ports import Commit, Entry
from domain.aggregate.event import CommandRejected
from domain.aggregate.ids import derived_id
from domain.workflow.evolve import evolve
from domain.workflow.incident import IncidentCode
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import StepStatus, WorkflowStatus
from tests.simulation.clock import virtual_now
from tests.simulation.definitions import SHELF
from tests.simulation.effects import Effect
from tests.simulation.watch import is_claim, is_workflow
from tests.simulation.workload import UNREADABLE, UNSTORABLE, garbage
from tests.simulation.world import World

#: Which secret it is makes no difference to what is compared.
_SIGN = signed_with(b"")

#: How far behind lists may be when nothing waits, clocks that differ included.
_LISTS_NEW = timedelta(seconds=3)


class Ledger:
    """The end of a run, read from the log and the topics alone."""

    def __init__(self, world: World) -> None:
        self.world = world
        self.commits: dict[str, list[Commit]] = defaultdict(list)
        for commit in world.log.stored._commits.values():
            self.commits[commit.aggregate_id].append(commit)
        for commits in self.commits.values():
            commits.sort(key=lambda commit: commit.first_version)
        self.instances = {
            workflow_id: folded(commits)
            for workflow_id, commits in self.commits.items()
            if is_workflow(workflow_id)
        }

        self.refused = {
            event.data["commandId"]
            for _, entry in self.entries()
            for event in entry.events
            if event.type == CommandRejected.TYPE
        }

    def first_cause(self, workflow_id: str) -> str:
        """The message that began it."""
        return self.commits[workflow_id][0].entries[0].message_id

    def first_input(self, workflow_id: str) -> object:
        """What it was started with, whatever was patched since."""
        return self.commits[workflow_id][0].entries[0].events[0].data["input"]

    def entries(self) -> Iterator[tuple[str, Entry]]:
        """What messages caused."""
        for workflow_id, commits in self.commits.items():
            for commit in commits:
                for entry in commit.entries:
                    if not is_claim(entry):
                        yield workflow_id, entry

    def messages(self, topic: str) -> list[Message]:
        """Everything on the topic, in order within each partition."""
        return [
            stored.message
            for log in self.world.broker.topic(topic).logs
            for stored in log.read(0, log.end)
            if isinstance(stored.message, Message)
        ]


def folded(commits: Sequence[Commit]) -> WorkflowInstance:
    """The state that the log adds up to."""
    instance: WorkflowInstance | None = None
    for commit in commits:
        for entry in commit.entries:
            for event in entry.events:
                instance = evolve(
                    instance, restore(WORKFLOW.kind, event, SHELF.of), commit.aggregate_id
                )
    assert instance is not None
    return instance


def violations(world: World) -> list[str]:
    """Everything that is wrong; empty: nothing."""
    found = [f"a process crashed: {crash!r}" for crash in world.crashes]
    gaps = list(_gaps(world))
    if gaps:
        return [*found, *gaps]
    ledger = Ledger(world)
    for check in _CHECKS:
        found.extend(check(ledger))
    effects: dict[str, list[Effect]] = defaultdict(list)
    for effect in world.watch.effects:
        effects[effect.key.split("/")[0]].append(effect)
    found.extend(_effects_once(world.watch.effects))
    for workflow_id, instance in ledger.instances.items():
        found.extend(_end(instance))
        found.extend(_incidents(instance))
        found.extend(_truth(instance, effects[workflow_id], world.watch.told))
        found.extend(_order(instance, effects[workflow_id], world.watch.told))
    return found


# -- the log -------------------------------------------------------------------------------------


def _gaps(world: World) -> Iterator[str]:
    """The versions of every instance are 1, 2, 3, ... without a gap or an overlap."""
    by_id: dict[str, list[Commit]] = defaultdict(list)
    for commit in world.log.stored._commits.values():
        by_id[commit.aggregate_id].append(commit)
    for workflow_id, commits in by_id.items():
        following = 1
        for commit in sorted(commits, key=lambda commit: commit.first_version):
            if commit.first_version != following:
                yield f"{workflow_id}: a commit begins at {commit.first_version}, not {following}"
            following = commit.last_version + 1


def _causes(ledger: Ledger) -> Iterator[str]:
    """A message is decided once, wherever copies of it stand; in the order of its lane."""
    positions: Counter[tuple[str, int, int, int]] = Counter()
    decided: defaultdict[str, list[str]] = defaultdict(list)
    last: dict[tuple[str, str, int], tuple[int, int]] = {}
    for workflow_id, entry in ledger.entries():
        cause = entry.cause
        order = (cause.leader_epoch, cause.offset)
        positions[cause.topic, cause.partition, *order] += 1
        decided[entry.message_id].append(workflow_id)
        lane = (workflow_id, cause.topic, cause.partition)
        if order <= last.get(lane, (-1, 0)) and workflow_id in ledger.instances:
            yield f"{workflow_id}: {entry.message_id} was decided after something behind it"
        last[lane] = order
    for position, count in positions.items():
        if count > 1:
            yield f"the message at {position} was decided {count} times"
    for message in ledger.world.clients.sent.values():
        times = decided[message.message_id]
        if len(times) > 1:
            yield f"{message.id} ({message.type}) was decided {len(times)} times: {times}"


def _decided(ledger: Ledger) -> Iterator[str]:
    """Every message of a workflow has left an entry where it stands, or is a copy of a command (PROTOCOL rule 8)."""
    found = {
        (e.cause.topic, e.cause.partition, e.cause.leader_epoch, e.cause.offset)
        for _, e in ledger.entries()
    }
    for name in (topics.COMMANDS, topics.REPLIES):
        for partition, log in enumerate(ledger.world.broker.topic(name).logs):
            for stored in log.read(0, log.end):
                message = stored.message
                if (
                    isinstance(message, Message)
                    and message.subject in ledger.instances
                    and not is_command(message.type)
                    and ledger.world.partition_of(message.subject) == partition
                    and (name, partition, stored.leader_epoch, stored.offset) not in found
                ):
                    yield f"{message.id} ({message.type}) left no entry in {message.subject}"


def _outcomes(ledger: Ledger) -> Iterator[str]:
    """Every accepted command has an outcome on the events topic; of a repeated start it is the first one's."""
    answered = {message.extensions["causationid"] for message in ledger.messages(topics.EVENTS)}
    for message in ledger.world.clients.sent.values():
        if message.type == types.START:
            yield from _start_outcome(ledger, message, is_answered=message.id in answered)
        elif message.id not in answered:
            yield f"{message.id} ({message.type} {message.subject}) has no outcome"


def _start_outcome(ledger: Ledger, message: Message, *, is_answered: bool) -> Iterator[str]:
    """The same key with the same payload is the same start, with another payload a conflict (PROTOCOL rule 17)."""
    data = orjson.loads(message.data)
    key = data.get("idempotencyKey")
    definition = data["definition"].removesuffix("-v1")
    seed = key or message.message_id
    instance = ledger.instances.get(message.subject or derived_id("default", definition, seed))
    is_repeated = (
        instance is not None
        and key is not None
        and key == instance.facts.idempotency_key
        and data["input"] == ledger.first_input(instance.id)
    )
    if not is_answered and not is_repeated:
        yield f"{message.id} ({message.type} {message.subject}) has no outcome"
    if is_answered and instance is None and message.id not in ledger.refused:
        yield f"{message.id} was answered, and there is no workflow of it"
    if instance is not None and not is_repeated and message.id not in ledger.refused:
        is_own = ledger.first_cause(instance.id) == message.message_id
        if not is_own:
            yield f"{message.id} asked for another workflow than {instance.id}, and was not refused"


def _publications(ledger: Ledger) -> Iterator[str]:
    """The first occurrences of a workflow's events are all of them, in version order, equal to the log."""
    seen: set[str] = set()
    published: defaultdict[str, list[Message]] = defaultdict(list)
    for message in ledger.messages(topics.EVENTS):
        if message.id not in seen:
            seen.add(message.id)
            published[message.id.rpartition(":")[0]].append(message)
    for workflow_id, commits in ledger.commits.items():
        expected = [
            message
            for commit in commits
            for message in outputs(commit, _SIGN)
            if message.topic == topics.EVENTS
        ]
        found = published.pop(workflow_id, [])
        if workflow_id.startswith("inbox:"):
            found.sort(key=lambda message: int(message.id.rpartition(":")[2]))
        if [(m.id, m.data) for m in found] != [(m.id, m.data) for m in expected]:
            yield (
                f"{workflow_id}: published {[m.id.rpartition(':')[2] for m in found]},"
                f" the log has {[m.id.rpartition(':')[2] for m in expected]}"
            )
    for workflow_id in published:
        yield f"{workflow_id}: events were published that are not in the log"


def _requests(ledger: Ledger) -> Iterator[str]:
    """Every request that the log asks for was sent, and no other."""
    expected = {
        message.id: message
        for commits in ledger.commits.values()
        for commit in commits
        for message in outputs(commit, _SIGN)
        if message.topic != topics.EVENTS
    }
    sent = {
        message.id: message
        for topic in {message.topic for message in expected.values()}
        for message in ledger.messages(topic)
    }
    for request_id in sorted(expected.keys() ^ sent.keys()):
        yield f"request {request_id}: asked for {request_id in expected}, sent {request_id in sent}"


# -- what follows the log ------------------------------------------------------------------------


def _projections(ledger: Ledger) -> Iterator[str]:
    """The projection of every instance is the fold of its log."""
    documents = ledger.world.projections.documents
    for workflow_id, instance in ledger.instances.items():
        document = documents.get(workflow_id)
        if document is None or document["version"] != instance.version:
            version = document and document["version"]
            yield f"{workflow_id}: projected at {version}, the log is at {instance.version}"
        elif from_document(document, SHELF.of) != instance:
            yield f"{workflow_id}: the projection is not the fold of the log"


def _memories(ledger: Ledger) -> Iterator[str]:
    """What the engines hold in memory is the fold of the log."""
    for engine in ledger.world.engines:
        for partition in engine.processor.partitions.values():
            for workflow_id, hot in partition.states.items():
                if is_workflow(workflow_id) and hot.state != ledger.instances[workflow_id]:
                    yield f"{workflow_id}: {engine.process.name} holds another state than the log's"


def _hot_states(ledger: Ledger) -> Iterator[str]:
    """What fast readers are shown of an instance that was written when nothing failed is the fold of its log.

    Redis may lack what was written before, or be behind: nobody repairs it (every step is checked by `watch`).
    """
    states, watch = ledger.world.hot_state.states, ledger.world.watch
    for workflow_id, version in watch.calm.items():
        instance, shown = ledger.instances[workflow_id], states.get(workflow_id)
        written = watch.warm.get(workflow_id, 0)
        if version != instance.version:
            continue  # what is newer was projected by a call from before, as `_projections` makes sure
        if written != instance.version:
            yield f"{workflow_id}: shown at {written}, the log is at {instance.version}"
        elif instance.status.is_terminal:
            if shown is not None:
                yield f"{workflow_id} is {instance.status}, and still hot"
        elif shown is None or from_document(shown, SHELF.of) != instance:
            yield f"{workflow_id}: the hot state is not the fold of the log"


def _lists(ledger: Ledger) -> Iterator[str]:
    """Nothing waits any more, so lists are new, unless the claim of a late engine holds them back (ADR 8).

    While a topic is held each round writes a mark, so one that is new is as good as none.
    """
    claims = {
        number: partition.claim
        for engine in ledger.world.engines
        for number, partition in engine.processor.partitions.items()
    }
    for mark in drive(ledger.world.projections.marks()):
        is_old = mark.until is not None and virtual_now() - mark.until > _LISTS_NEW
        if is_old and mark.claim == claims.get(mark.partition):
            yield f"lists are as of {mark.until}, and partition {mark.partition} is idle"


# -- what is no use ------------------------------------------------------------------------------


def _dead_letters(ledger: Ledger) -> Iterator[str]:
    """Every message that nobody can read is a dead letter that tells where it lay, and no other message is one.

    One that can be read and not be written on is refused instead, in the log.
    """
    broker = ledger.world.broker
    letters: defaultdict[tuple[str, int, int], list[bytes | None]] = defaultdict(list)
    for log in broker.topic(topics.DEAD_LETTER).logs:
        for letter in log.read(0, log.end):
            told = {name: value.decode() for name, value in letter.record.headers}
            place = (told["dlq-topic"], int(told["dlq-partition"]), int(told["dlq-offset"]))
            letters[place].append(letter.record.value)
            if letter.record.value not in UNREADABLE:
                yield f"{told.get('ce_id')} of {place} is a dead letter: {told['dlq-reason']}"
    decided = {entry.message_id for _, entry in ledger.entries()}
    for name in (topics.COMMANDS, topics.REPLIES):
        for partition, log in enumerate(broker.topic(name).logs):
            for stored in log.read(0, log.end):
                value, place = stored.record.value, (name, partition, stored.offset)
                # An election gives an offset out again: letters of two records may name one place.
                if value in UNREADABLE and value not in letters[place]:
                    yield f"what lies at {place} cannot be read, and is no dead letter"
                if value in UNSTORABLE and garbage(value).message_id not in decided:
                    yield f"what lies at {place} cannot be written on, and is not refused"


_CHECKS = (
    _causes,
    _decided,
    _outcomes,
    _publications,
    _requests,
    _projections,
    _memories,
    _hot_states,
    _lists,
    _dead_letters,
)


# -- sagas and effects ---------------------------------------------------------------------------


def _end(instance: WorkflowInstance) -> Iterator[str]:
    """It has ended, or stays as it may: FAILED where its definition holds or its undo was refused."""
    if instance.status not in _ENDS:
        yield f"{instance.id} ({instance.definition.name}) is still {instance.status}"
    if instance.unresolved:
        yield f"{instance.id} ended {instance.status} with unresolved {instance.unresolved}"
    busy = [s.step_id for s in instance.steps.values() if s.status is StepStatus.EXECUTING]
    if busy and instance.status is not WorkflowStatus.FAILED:
        yield f"{instance.id} is {instance.status}, and {busy} still run"


_ENDS = frozenset(
    {
        WorkflowStatus.COMPLETED,
        WorkflowStatus.COMPENSATED,
        WorkflowStatus.CANCELLED,
        WorkflowStatus.FAILED,
    }
)


#: Incidents that only people resolve.
_STANDING = (IncidentCode.UNRESOLVED, IncidentCode.PERFORMED_AFTER_ALL, IncidentCode.OUTPUT_MAPPING)


def _incidents(instance: WorkflowInstance) -> Iterator[str]:
    """Of what had gone wrong before a workflow ended nothing is left to look at."""
    end = instance.completed_at
    if not instance.is_terminal or instance.unresolved or end is None:
        return
    for incident in instance.incidents:
        # In the same moment it may have come after the end.
        if incident.code not in _STANDING and incident.raised_at < end:
            yield f"{instance.id} is {instance.status}, and {incident.code} is still open"


def _effects_once(effects: Sequence[Effect]) -> Iterator[str]:
    """No effect happened twice under one key."""
    for key, count in Counter(effect.key for effect in effects).items():
        if count > 1:
            yield f"{key} was performed {count} times"


def _truth(instance: WorkflowInstance, effects: Sequence[Effect], told: set[str]) -> Iterator[str]:
    """What the workflow believes of its steps is what the participants did."""
    places = {effect.key: place for place, effect in enumerate(effects)}
    for step in instance.steps.values():
        for round in range(1, step.round + 1):
            key = f"{instance.id}/{step.step_id}/{round}"
            if key in told:
                continue
            was_done, was_undone = key in places, f"{key}/undo" in places
            is_last = round == step.round
            believed_done = is_last and (step.status in _DONE or step.is_done)
            believed_undone = is_last and step.status is StepStatus.COMPENSATED
            if was_done and was_undone and places[key] > places[f"{key}/undo"]:
                yield f"{key} was performed after its undo"
            if was_undone and not was_done:
                yield f"{key} was undone and never performed"
            if (was_done and not was_undone) is not believed_done:
                yield f"{key} is {step.status}; performed {was_done}, undone {was_undone}"
            if believed_undone and was_done is not was_undone:
                yield f"{key} is taken as undone; performed {was_done}, undone {was_undone}"


_DONE = frozenset({StepStatus.COMPLETED, StepStatus.COMPENSATING})


def _order(instance: WorkflowInstance, effects: Sequence[Effect], told: set[str]) -> Iterator[str]:
    """Effects follow the dependencies, and undos follow them backwards; a saga that went back left nothing."""
    places: Mapping[str, int] = {effect.key: place for place, effect in enumerate(effects)}
    for step in instance.definition.steps:
        key = f"{instance.id}/{step.id}/{instance.steps[step.id].round}"
        for dependency in step.depends_on:
            other = f"{instance.id}/{dependency}/{instance.steps[dependency].round}"
            if key in told or other in told:
                continue
            if key in places and other in places and places[other] > places[key]:
                yield f"{key} was performed before {other}"
            undo, undo_other = f"{key}/undo", f"{other}/undo"
            if undo in places and undo_other in places and places[undo_other] < places[undo]:
                yield f"{undo_other} came before {undo}"
    if instance.status is WorkflowStatus.COMPENSATED:
        left = [
            s.step_id
            for s in instance.steps.values()
            # Forced, it may have been past its pivot, where nothing has an undo.
            if s.status in _DONE
            and s.key(instance.id) not in told
            and not (instance.forced and instance.definition.compensation_of(s.step_id) is None)
        ]
        if left:
            yield f"{instance.id} is COMPENSATED, and {left} still stand"

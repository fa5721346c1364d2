"""What must hold at every step: told of each commit, publication, effect and projection when it happens.

It keeps its own fold of the log and its own account of who did what, and compares. The first
violation ends a run.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime, timedelta
from typing import Any

from conveyor import topics
from conveyor.messages import Record

from application.aggregates.workflow import WORKFLOW
from application.codec.events import restore
from application.codec.instances import from_document
from application.codec.internal import TIMER_DUE, TIMER_SOURCE, signed_with, timer_message
from application.outputs import entry_outputs, outputs
from application.ports import Commit, DefinitionOf, Document, Entry, Mark
from domain.aggregate.event import CommandRejected, DomainEvent
from domain.aggregate.ids import StepKey
from domain.definition.definition import WorkflowDefinition
from domain.inbox import PartitionClaimed
from domain.workflow.commands import Purpose
from domain.workflow.events import (
    CompensationStarted,
    IncidentRaised,
    IncidentResolved,
    StepCompensated,
    StepCompensationFailed,
    StepExecuted,
    StepFailed,
    StepReplyIgnored,
    StepScheduled,
    StepSealed,
    StepSkipped,
    StepUnresolved,
)
from domain.workflow.evolve import evolve
from domain.workflow.incident import IncidentCode
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import StepStatus, WorkflowStatus
from domain.workflow.timers import timers_of
from tests.simulation.clock import virtual_now
from tests.simulation.effects import Effect
from tests.simulation.trace import Trace

#: Who tells outcomes in a participant's name, true or not.
OPERATOR = "operator"

_TIMER = f"{TIMER_SOURCE} "
_REPLY = "/request/reply"

#: After so many retries there is a pause before each other one. Seals have it from the first, and it doubles.
_QUICK_RETRIES = 3
_PAUSE = timedelta(seconds=1)
_LONGEST_PAUSE = timedelta(minutes=5)
#: What was tried so often in vain is an incident.
_TRIES_UNSAID = 5

#: What may still be noted of a workflow that has ended for good.
_AFTER_THE_END = (StepReplyIgnored, CommandRejected, IncidentRaised, IncidentResolved)


@dataclass(frozen=True, slots=True)
class Bounds:
    """What a commit may hold before the last message that it takes (PROTOCOL rule 5)."""

    events: int = 1000
    bytes: int = 1_000_000


#: How soon an engine knows what was written late: the message that caused it comes again.
_NOTICED_WITHIN = timedelta(seconds=3)


class Watch:
    """One run's step checks; `violations` are sentences."""

    def __init__(
        self,
        definition_of: DefinitionOf,
        partition_of: Callable[[str], int],
        secret: bytes,
        trace: Trace,
    ) -> None:
        self._definition_of = definition_of
        self._partition_of = partition_of
        self._sign = signed_with(secret)
        self._trace = trace
        self.bounds = Bounds()
        self.violations: list[str] = []
        #: How many single comparisons were made.
        self.checks = 0
        #: Workflow id -> its state now, and at the end of each commit.
        self.instances: dict[str, WorkflowInstance] = {}
        self._states: dict[str, dict[int, WorkflowInstance]] = defaultdict(dict)
        #: Aggregate -> the version that the log has.
        self.versions: dict[str, int] = {}
        #: Ids of commits that arrived after their engine had given up on them.
        self.late: set[str] = set()
        #: Workflow id -> when it got each of its versions, by the right time, without late ones.
        self._came: dict[str, list[tuple[datetime, int]]] = defaultdict(list)
        #: Partition -> how far its lists are, as was said last.
        self._marks: dict[int, datetime | None] = {}
        #: Process -> how far its clock was ahead at most.
        self._ahead: dict[str, timedelta] = defaultdict(timedelta)
        #: Workflow id -> the highest position applied per lane, as the log says.
        self._applied: dict[str, dict[tuple[str, int], tuple[int, int]]] = defaultdict(dict)
        self._applied_at: dict[tuple[str, int], dict[tuple[str, int], tuple[int, int]]] = {}
        self._causes: dict[tuple[str, int, int, int], str] = {}
        self._asked: dict[tuple[str, str], int] = {}
        self._inputs: dict[tuple[str, str], Any] = {}
        #: Event that asked a participant for something -> of which step and round.
        self._rounds: dict[str, tuple[str, int]] = {}
        #: Keys that were sealed or undone: nothing can be done under them any more.
        self._closed: set[str] = set()
        #: Aggregate -> its events' ids and data, and how far they were published.
        self._expected: dict[str, dict[str, bytes]] = defaultdict(dict)
        self._published: dict[str, int] = defaultdict(int)
        self._projected: dict[str, int] = defaultdict(int)
        #: Workflow id -> the version that was projected last when nothing failed any more.
        self.calm: dict[str, int] = {}
        #: Workflow id -> the newest version that fast readers were shown.
        self.warm: dict[str, int] = {}
        self.effects: list[Effect] = []
        self._done: dict[str, Effect] = {}
        #: Told of each first publication of a workflow's event: its id and the version.
        self.on_published: Callable[[str, int], None] = _ignore
        #: Keys whose outcome an operator told instead of the participant; what they did is not judged.
        self.told: set[str] = set()
        #: Engine's name -> partition -> where its replies ended when it was assigned.
        self.replies_end: dict[str, dict[int, int]] = defaultdict(dict)
        #: Engine's name -> partition -> the next reply that it will decide, as it says itself.
        self.decided: dict[str, Callable[[], dict[int, int]]] = {}
        #: Engine's name -> partition -> the instances that it has in memory, with their versions.
        self.held: dict[str, Callable[[], dict[int, dict[str, int]]]] = {}

    def wrong(self, what: str) -> None:
        self._trace.note("check", f"WRONG: {what}")
        self.violations.append(what)

    # -- the log ---------------------------------------------------------------------------------

    def appended(self, commit: Commit) -> None:
        """A majority has it: from now on it is true."""
        workflow_id = commit.aggregate_id
        following = self.versions.get(workflow_id, 0) + 1
        self.checks += 2
        if commit.first_version != following:
            self.wrong(f"{workflow_id}: a commit begins at {commit.first_version}, not {following}")
            return
        self.versions[workflow_id] = commit.last_version
        is_inbox = workflow_id.startswith("inbox:")
        if not is_inbox and self._partition_of(workflow_id) != commit.partition:
            self.wrong(f"{workflow_id} was decided on partition {commit.partition}")
        self._bounded(workflow_id, commit.entries)
        for entry in commit.entries:
            if not is_claim(entry):
                self._entered(workflow_id, entry, is_inbox)
        if is_workflow(workflow_id):
            self._states[workflow_id][commit.last_version] = self.instances[workflow_id]
            if commit.id not in self.late:
                self._came[workflow_id].append((virtual_now(), commit.last_version))
            self._applied_at[workflow_id, commit.last_version] = dict(self._applied[workflow_id])
        expected = self._expected[workflow_id]
        for message in outputs(commit, self._sign):
            if message.topic == topics.EVENTS:
                expected[message.id] = message.data

    def _bounded(self, workflow_id: str, entries: Sequence[Entry]) -> None:
        """A commit that is full takes no further message (PROTOCOL rule 5)."""
        self.checks += 2
        events = sum(len(entry.events) for entry in entries[:-1])
        size = sum(
            len(message.data) for e in entries[:-1] for message in entry_outputs(e, self._sign)
        )
        if events >= self.bounds.events or size >= self.bounds.bytes:
            self.wrong(f"{workflow_id}: a commit goes on after {events} events, {size} bytes")

    def _entered(self, workflow_id: str, entry: Entry, is_inbox: bool) -> None:
        """What one message led to."""
        self._caused(workflow_id, entry, is_inbox)
        if not is_workflow(workflow_id):
            return
        if entry.message_id.startswith(_TIMER):
            self._fired(workflow_id, entry)
        elif entry.message_id.endswith(_REPLY):
            self._answers(workflow_id, entry)
        for recorded in entry.events:
            if recorded.type in (StepScheduled.TYPE, StepUnresolved.TYPE):
                data = recorded.data
                self._rounds[data["eventId"]] = (data["stepId"], data["round"])
            self._evolved(workflow_id, restore(WORKFLOW.kind, recorded, self._definition_of))
        if any(event.type in (StepUnresolved.TYPE, StepFailed.TYPE) for event in entry.events):
            self._is_said(self.instances[workflow_id])

    def _is_said(self, instance: WorkflowInstance) -> None:
        """Who repeats something and gets nowhere says so."""
        self.checks += 1
        for step in instance.steps.values():
            if step.unanswered and step.seal_attempt > _TRIES_UNSAID:
                code = IncidentCode.SEAL_UNANSWERED
            elif step.next_attempt_at is not None and step.retry_count >= _TRIES_UNSAID:
                code = IncidentCode.STILL_FAILING
            else:
                continue
            if instance.open_incident(code, step.step_id) is None:
                self.wrong(f"{step.key(instance.id)} is asked for again and again, without {code}")

    def _caused(self, workflow_id: str, entry: Entry, is_inbox: bool) -> None:
        """A position causes one entry, and of one lane positions are decided in order."""
        cause = entry.cause
        order = (cause.leader_epoch, cause.offset)
        place = (cause.topic_id, cause.partition, *order)
        self.checks += 2
        if place in self._causes:
            self.wrong(f"the message at {place} was decided twice, for {workflow_id} too")
        self._causes[place] = workflow_id
        applied = self._applied[workflow_id]
        last = applied.get(cause.lane)
        if last is not None and order <= last and not is_inbox:
            self.wrong(f"{workflow_id}: {entry.message_id} was decided after something behind it")
        applied[cause.lane] = max(order, last or order)

    def _fired(self, workflow_id: str, entry: Entry) -> None:
        """A timer that the state has is never ignored, whatever the time is (PROTOCOL rule 13)."""
        self.checks += 1
        if any(event.type != StepReplyIgnored.TYPE for event in entry.events):
            return
        for timer in timers_of(self.instances[workflow_id]):
            if timer_message(self._sign, workflow_id, timer.firing).message_id == entry.message_id:
                self.wrong(f"{entry.message_id} was ignored, though it was due")

    def _answers(self, workflow_id: str, entry: Entry) -> None:
        """What was asked for in another round changes nothing any more (PROTOCOL rule 10)."""
        self.checks += 1
        # An incident: deciding it failed. What else was due by then may follow.
        if entry.events[0].type in (StepReplyIgnored.TYPE, IncidentRaised.TYPE):
            return
        asked = self._rounds.get(entry.message_id.partition(" ")[2].removesuffix(_REPLY))
        if asked is not None:
            step_id, round = asked
            current = self.instances[workflow_id].steps[step_id].round
            if current != round:
                self.wrong(f"{entry.message_id} answers round {round}, and counted in {current}")

    def _evolved(self, workflow_id: str, event: DomainEvent) -> None:
        before = self.instances.get(workflow_id)
        if before is not None:
            self._followed(before, event)
        self.instances[workflow_id] = evolve(before, event, workflow_id)

    def _followed(self, before: WorkflowInstance, event: DomainEvent) -> None:
        """What the event says may happen in this state."""
        self.checks += 2
        workflow_id = before.id
        if event.occurred_at < before.updated_at:
            self.wrong(f"{workflow_id}: time runs backwards at version {before.version + 1}")
        ended = before.status is WorkflowStatus.COMPENSATED
        done = before.status is WorkflowStatus.COMPLETED
        may_follow = isinstance(event, _AFTER_THE_END) or (
            done and isinstance(event, CompensationStarted)
        )
        if (ended or done) and not may_follow:
            self.wrong(f"{workflow_id} is {before.status}, and then came {event.NAME}")
        if isinstance(event, StepFailed | StepCompensationFailed):
            self._paced(before, event)
        if isinstance(event, StepScheduled):
            self._scheduled(before, event)
        elif isinstance(event, StepUnresolved):
            self._sealing(before, event)
        elif isinstance(event, IncidentRaised):
            self._raised(before, event)
        elif isinstance(event, StepCompensated):
            key = before.steps[event.step_id].key(workflow_id)
            self._closed.add(key)
            if event.forced:
                self.told.add(key)
        elif isinstance(event, StepSkipped):
            self._skipped(before, event)
        elif isinstance(event, StepExecuted | StepFailed | StepReplyIgnored | StepSealed):
            self._answered(before, event)

    def _paced(self, before: WorkflowInstance, event: StepFailed | StepCompensationFailed) -> None:
        """A few retries may be quick; nothing is repeated for long without a pause."""
        self.checks += 1
        if event.next_attempt_at is None:
            return
        step = before.steps[event.step_id]
        retries = step.retry_count if isinstance(event, StepFailed) else step.undo.retry_count
        pause = event.next_attempt_at - event.occurred_at
        if retries >= _QUICK_RETRIES and pause < _PAUSE:
            self.wrong(f"{step.key(before.id)} is tried again in {pause}, after {retries} retries")

    def _raised(self, before: WorkflowInstance, event: IncidentRaised) -> None:
        """Once while it is open; but each message that could not be decided leaves its own."""
        self.checks += 1
        is_open = before.open_incident(event.code, event.step_id) is not None
        if is_open and event.code in set(IncidentCode):
            self.wrong(f"{before.id}: {event.code} of {event.step_id} was raised again")

    def _sealing(self, before: WorkflowInstance, event: StepUnresolved) -> None:
        """It is asked for ever more seldom."""
        self.checks += 1
        pause = event.next_seal_at - event.occurred_at
        if pause < min(_PAUSE * 2 ** (event.seal_attempt - 1), _LONGEST_PAUSE):
            key = before.steps[event.step_id].key(before.id)
            self.wrong(f"{key} is asked for a seal again in {pause}, after {event.seal_attempt}")

    def _scheduled(self, before: WorkflowInstance, event: StepScheduled) -> None:
        """Attempts of a key grow by one; a step waits for what it depends on, an undo for what depends on it."""
        known = (event.idempotency_key, event.purpose or Purpose.FORWARD)
        self.checks += 2
        asked = self._asked.get(known, 0)
        if event.attempt <= asked:
            self.wrong(f"{event.idempotency_key}: attempt {event.attempt} was sent after {asked}")
        self._asked[known] = event.attempt
        if event.purpose is None and event.idempotency_key in self._closed:
            self.wrong(f"{event.idempotency_key} is asked for again, and was sealed or undone")
        asked_with = self._inputs.setdefault(known, event.request.input)
        if event.request.input != asked_with:
            self.wrong(
                f"{event.idempotency_key} is asked for with {event.request.input} after {asked_with}"
            )
        definition = before.definition
        if event.purpose is None:
            missing = [
                name
                for name, below in definition.dependents.items()
                if event.step_id in below and not before.steps[name].status.is_satisfied
            ]
            if missing:
                self.wrong(f"{event.idempotency_key} was asked for before {missing} were done")
        elif before.steps[event.step_id].status is StepStatus.COMPLETED:
            self._undo_asked(before, event, definition)

    def _skipped(self, before: WorkflowInstance, event: StepSkipped) -> None:
        """What is left out was not done."""
        self.checks += 1
        key = before.steps[event.step_id].key(before.id)
        if key in self._done and key not in self.told:
            self.wrong(f"{key} is skipped, and was performed")

    def _undo_asked(
        self, before: WorkflowInstance, event: StepScheduled, definition: WorkflowDefinition
    ) -> None:
        done_with = before.steps[event.step_id].input or {}
        order = event.request.input.get("order", done_with.get("order"))
        if order != done_with.get("order"):
            self.wrong(f"{event.idempotency_key} is for {order}, and was done for {done_with}")
        for dependent in sorted(definition.dependents[event.step_id]):
            execution = before.steps[dependent]
            has_undo = definition.compensation_of(dependent) is not None
            if execution.unanswered or (has_undo and execution.needs_undo):
                self.wrong(
                    f"{event.idempotency_key} was asked for while {dependent} is {execution.status},"
                    f" attempts {execution.unanswered} unanswered"
                )

    def _answered(
        self,
        before: WorkflowInstance,
        event: StepExecuted | StepFailed | StepReplyIgnored | StepSealed,
    ) -> None:
        """Who answers that an attempt did nothing has done nothing; who says it did, has."""
        if event.step_id is None:
            return
        key = before.steps[event.step_id].key(before.id)
        done = self._done.get(key)
        is_forced = False
        match event:
            case StepExecuted():
                is_true = done is not None
            case StepFailed():
                if not event.answered:
                    return
                failed = done is None or done.attempt != event.attempt
                is_true = done is not None if event.performed else failed
            case StepReplyIgnored():
                if event.resolves is None:
                    return
                is_true = done is None or done.attempt != event.resolves
            case StepSealed():
                if not event.performed:
                    self._closed.add(key)
                is_true, is_forced = event.performed is (done is not None), event.forced
        if event.actor == OPERATOR or is_forced:
            self.told.add(key)
        elif not is_true and key not in self.told:
            self.wrong(f"{key}: {event.NAME} of version {before.version + 1} is not true")

    # -- the topics ------------------------------------------------------------------------------

    def published(self, record: Record) -> None:
        """An event is published the first time when all before it were, as the log has it."""
        if record.topic != topics.EVENTS:
            return
        self.checks += 1
        event_id = next(value for name, value in record.headers if name == "ce_id").decode()
        aggregate, _, version = event_id.rpartition(":")
        at = int(version) - 1
        if self._expected[aggregate].get(event_id) != record.value:
            self.wrong(f"{event_id} was published and is not in the log like that")
        elif at > self._published[aggregate] and not aggregate.startswith("inbox:"):
            self.wrong(f"{event_id} was published before version {self._published[aggregate] + 1}")
        elif at == self._published[aggregate] and not aggregate.startswith("inbox:"):
            self.on_published(aggregate, at + 1)
        self._published[aggregate] = max(self._published[aggregate], at + 1)

    def sends(self, engine: str, record: Record) -> None:
        """No timer before the replies that lay there at the assignment are decided (PROTOCOL rule 13)."""
        if record.topic != topics.COMMANDS:
            return
        if dict(record.headers).get("ce_type", b"").decode() != TIMER_DUE:
            return
        self.checks += 1
        partition = self._partition_of((record.key or b"").decode())
        end = self.replies_end[engine].get(partition, 0)
        owned = self.decided[engine]().get(partition)
        if owned is not None and owned < end:
            self.wrong(f"{engine} sends a timer while replies {owned} to {end} are not decided")

    def took_over(self, process: str, partitions: set[int], versions: Mapping[str, int]) -> None:
        """A new owner holds nothing that is older than the log was when it began (PROTOCOL rule 12)."""
        if process not in self.held:
            return  # a participant
        for partition, instances in self.held[process]().items():
            for workflow_id, version in instances.items() if partition in partitions else ():
                self.checks += 1
                if version < versions.get(workflow_id, 0):
                    self.wrong(
                        f"{process} takes {workflow_id} over at version {version},"
                        f" the log is at {versions[workflow_id]}"
                    )

    # -- participants ----------------------------------------------------------------------------

    def happened(self, effect: Effect) -> None:
        """A participant really did something."""
        self.checks += 3
        self.effects.append(effect)
        if effect.key in self._done:
            self.wrong(f"{effect.key} was performed twice")
        self._done[effect.key] = effect
        key = StepKey.parse(effect.key)
        instance = self.instances.get(key.workflow_id)
        if instance is None:
            self.wrong(f"{effect.key} was performed for a workflow that is not in the log")
            return
        own = str(StepKey(key.workflow_id, key.step_id, key.round))
        if own in self.told:
            return
        execution = instance.steps[key.step_id]
        if key.purpose is None:
            if instance.status in (WorkflowStatus.COMPLETED, WorkflowStatus.COMPENSATED):
                self.wrong(f"{effect.key} was performed in a workflow that is {instance.status}")
            elif key.round != execution.round or effect.attempt not in execution.unanswered:
                self.wrong(
                    f"{effect.key} was performed at attempt {effect.attempt}, and the log takes"
                    f" only {execution.unanswered} of round {execution.round} for possible"
                )
            self._after(instance, key, own)
        else:
            self._undone(instance, key, own)

    def _after(self, instance: WorkflowInstance, key: StepKey, own: str) -> None:
        """What it depends on was performed before."""
        for dependency in instance.definition.step(key.step_id).depends_on:
            execution = instance.steps[dependency]
            needed = execution.key(instance.id)
            if execution.status is StepStatus.SKIPPED or needed in self.told:
                continue
            if needed not in self._done:
                self.wrong(f"{own} was performed, and {needed} was not")

    def _undone(self, instance: WorkflowInstance, key: StepKey, own: str) -> None:
        """It was done, and what depends on it is undone, or cannot be."""
        if own not in self._done:
            self.wrong(f"{own} was undone and never performed")
        for dependent in instance.definition.dependents[key.step_id]:
            other = instance.steps[dependent].key(instance.id)
            has_undo = instance.definition.compensation_of(dependent) is not None
            is_done = other in self._done and f"{other}/undo" not in self._done
            if is_done and has_undo and other not in self.told and not instance.forced:
                self.wrong(f"{own} was undone before {other}")

    # -- what follows the log --------------------------------------------------------------------

    def projected(self, document: Document, *, is_calm: bool) -> None:
        """The projection is the fold of the log up to its version; `is_calm`: nothing fails any more."""
        workflow_id, version = document["_id"], document["version"]
        self.checks += 3
        if version < self._projected[workflow_id]:
            self.wrong(f"the projection of {workflow_id} went backwards to version {version}")
        self._projected[workflow_id] = version
        if not is_workflow(workflow_id):
            return
        if is_calm:
            self.calm[workflow_id] = version
        state = self._states[workflow_id].get(version)
        if state is None:
            self.wrong(f"{workflow_id} is projected at version {version}, where no commit ends")
            return
        if from_document(document, self._definition_of) != state:
            self.wrong(f"{workflow_id}: the projection of version {version} is not the fold")
        applied = {
            (lane["topicId"], lane["partition"]): (lane["leaderEpoch"], lane["offset"])
            for lane in document["engine"]["applied"]
        }
        if applied != self._applied_at[workflow_id, version]:
            self.wrong(f"{workflow_id}: version {version} remembers other positions than the log")

    def warmed(self, written: Document, shown: Document | None) -> None:
        """Fast readers are shown the newest state that came, and nothing of what has ended."""
        workflow_id = written["_id"]
        self.checks += 2
        newest = max(self.warm.get(workflow_id, 0), written["version"])
        self.warm[workflow_id] = newest
        state = self._states[workflow_id].get(newest)
        if state is None:
            self.wrong(f"{workflow_id} is hot at version {newest}, where no commit ends")
        elif shown is None:
            if not state.status.is_terminal:
                self.wrong(f"{workflow_id} is {state.status} and not hot at version {newest}")
        elif state.status.is_terminal:
            self.wrong(f"{workflow_id} is {state.status} and still hot")
        elif shown["version"] != newest:
            self.wrong(f"{workflow_id} is hot at version {shown['version']}, and was at {newest}")
        elif from_document(shown, self._definition_of) != state:
            self.wrong(f"{workflow_id}: the hot state of version {newest} is not the fold")

    # -- readers ---------------------------------------------------------------------------------

    def read(self, workflow_id: str, answered: int, shown: int) -> None:
        """Who was answered with a version is never shown an older one (PROTOCOL rule 20)."""
        self.checks += 1
        if shown < answered:
            self.wrong(f"{workflow_id} was answered at version {answered} and then read at {shown}")

    def clock_is_off(self, process: str, skew: timedelta) -> None:
        """From now on."""
        self._ahead[process] = max(self._ahead[process], skew)

    def marked(self, process: str, mark: Mark) -> None:
        """What an engine says of its lists is true by its clock, as far as it knows the log.

        It does not know what an engine before it, or an earlier call of its own, writes late (ADR 8).
        """
        self._marks[mark.partition], before = mark.until, self._marks.get(mark.partition)
        if mark.until is None or mark.until == before:
            return  # readers ask the log; a new owner repeats the mark of the last one
        by_then = mark.until - self._ahead[process]
        for workflow_id, known in self.held[process]().get(mark.partition, {}).items():
            if workflow_id in self._came:
                shown = self._projected[workflow_id]
                self._shows(f"{process} says that lists show", by_then, workflow_id, shown, known)

    def listed(self, as_of: datetime, shown: Mapping[str, int]) -> None:
        """A list shows what was decided before the time that it names (ADR 8), by the clocks of the engines."""
        by_then = as_of - max(self._ahead.values()) - _NOTICED_WITHIN
        for workflow_id, version in self.versions.items():
            if workflow_id in self._came:
                self._shows(
                    "a list shows", by_then, workflow_id, shown.get(workflow_id, 0), version
                )

    def _shows(self, who: str, by_then: datetime, workflow_id: str, shown: int, known: int) -> None:
        self.checks += 1
        came = self._came[workflow_id]
        before = [version for at, version in came if at < by_then and version <= known]
        if before and shown < before[-1]:
            self.wrong(
                f"{who} {workflow_id} version {shown}, as of {by_then:%H:%M:%S.%f};"
                f" it was at {before[-1]} by then"
            )


def is_workflow(aggregate_id: str) -> bool:
    """Other kinds have a prefix; in a simulation workflow ids have none."""
    return ":" not in aggregate_id


def is_claim(entry: Entry) -> bool:
    """No message caused it: the partition changed hands."""
    return entry.events[0].type == PartitionClaimed.TYPE


def _ignore(_workflow_id: str, _version: int) -> None:
    """Nobody listens."""

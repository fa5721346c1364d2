"""Deciding a batch in memory: nothing here is visible to anybody until the drafts are appended.

A draft collects what the messages of one batch do to one aggregate: the entries of its commit, the
messages that follow, and the state after it. All is serialised and measured here (PROTOCOL rule 15).
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Final

import structlog
from conveyor.messages import Message

from application.codec.commands import Inbound, StartIntent, is_command, start_command, without_data
from application.codec.events import record, record_refusal
from application.engine.hot import Hot, Memory, Refusals, inbox_id
from application.outputs import entry_outputs
from application.ports import Commit, Entry
from domain.aggregate.event import DomainEvent
from domain.aggregate.position import Position
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import WorkflowDefinition
from domain.workflow.commands import (
    Command,
    ExecuteStep,
    HandleSealAnswer,
    HandleStepReply,
    SignalWorkflow,
    StartWorkflow,
)
from domain.workflow.decide import Decided, Duplicate, decide
from domain.workflow.events import CommandRejected, IncidentRaised
from domain.workflow.evolve import evolve
from domain.workflow.instance import WorkflowInstance

log = structlog.get_logger("WorkflowEngine")

#: A commit holds at most this much; what does not fit waits for the next insert of the same batch (rule 5).
COMMIT_EVENTS_MAX: Final = 1000
COMMIT_BYTES_MAX: Final = 1_000_000
#: Bytes of data of one message; topics take 1 MiB with headers.
MESSAGE_BYTES_MAX: Final = 1_000_000
#: Bytes of all events of an instance, so that its document (which repeats outputs) stays under 16 MB.
INSTANCE_BYTES_MAX: Final = 6_000_000

#: Of a refusal, so that no input makes it too large to be told.
_DETAIL_CHARACTERS: Final = 4000
_FAULTS_TOLD: Final = 100
_FAULT_CHARACTERS: Final = 500

#: What can make an instance too large. Anything else must stay possible, so that one at its limit can be ended.
_BRINGING_DATA = (StartWorkflow, SignalWorkflow, ExecuteStep, HandleStepReply, HandleSealAnswer)

DefinitionFor = Callable[[str, int | None], WorkflowDefinition | None]


@dataclass(frozen=True, slots=True)
class Work:
    """One understood message."""

    position: Position
    message: Message
    inbound: Inbound
    #: The event's own time, or without one the record's, in milliseconds since 1970.
    at_ms: int

    @property
    def is_command(self) -> bool:
        return is_command(self.message.type)


@dataclass(slots=True)
class Draft:
    """What a batch does to one instance, or would do if it existed (`instance` None)."""

    workflow_id: str
    partition: int
    instance: WorkflowInstance | None
    memory: Memory
    first_version: int = 1
    entries: list[Entry] = field(default_factory=list[Entry])
    messages: list[Message] = field(default_factory=list[Message])
    bytes: int = 0
    events: int = 0
    #: Commands that were answered before: their ids, to be answered again from the log.
    repeats: list[str] = field(default_factory=list[str])
    #: Commands that were answered before, or are in this batch, and may not be in the memory's window.
    answered: set[str] = field(default_factory=set[str])
    #: The first start came once more.
    repeats_start: bool = False
    #: Messages for the next insert of the same batch.
    left: Sequence[Work] = ()

    @staticmethod
    def of(hot: Hot, partition: int) -> Draft:
        instance = hot.instance
        return Draft(instance.id, partition, instance, hot.memory, instance.version + 1)

    @staticmethod
    def of_nothing(workflow_id: str, partition: int) -> Draft:
        return Draft(workflow_id, partition, None, Memory())

    @property
    def is_full(self) -> bool:
        """Its commit takes no more (PROTOCOL rule 5)."""
        return self.events >= COMMIT_EVENTS_MAX or self.bytes >= COMMIT_BYTES_MAX

    @property
    def commit(self) -> Commit | None:
        if not self.entries:
            return None
        return Commit(self.workflow_id, self.first_version, self.partition, tuple(self.entries))


class Unloaded(Exception):
    """The draft assumed that the workflow is new, and something in the batch needs to know."""


class Drafter:
    """Decides messages against drafts; one per batch."""

    def __init__(
        self,
        partition: int,
        refusals: Refusals,
        definition_for: DefinitionFor,
        now: datetime,
        share: int,
    ) -> None:
        """`share`: the most messages of one instance that one insert takes."""
        self._partition = partition
        self._share = share
        self._definition_for = definition_for
        self._now = now
        inbox = inbox_id(partition)
        #: The refusals of this batch, as a draft of the inbox aggregate.
        self.refusals = Draft(inbox, partition, None, refusals.memory, refusals.version + 1)
        #: Replies and timers for workflows that do not exist.
        self.orphans = 0

    def decide_all(self, draft: Draft, works: Sequence[Work], *, assumed_new: bool = False) -> None:
        """Decide the messages for one instance in order, until its share is used or the commit is full.

        With `assumed_new` nobody looked whether the instance exists: the fence will tell for a start,
        and `Unloaded` is raised for anything else.
        """
        for place, work in enumerate(works):
            if draft.is_full or self.refusals.is_full or place >= self._share:
                draft.left = works[place:]
                return
            if not draft.memory.has_applied(work.position):
                self._decide(draft, work, assumed_new)

    def _decide(self, draft: Draft, work: Work, assumed_new: bool) -> None:
        # What was refused when the workflow did not exist stays refused (rule 8).
        if work.is_command and (_repeats(draft, work) or _repeats(self.refusals, work)):
            return
        command = self._command(work)
        if draft.instance is None and assumed_new and not isinstance(command, StartWorkflow):
            raise Unloaded
        if isinstance(command, Rejection):
            self._refuse(draft, work, command)
            return
        try:
            decision = decide(draft.instance, command, self._now)
            if isinstance(decision, Decided):
                self._accept(draft, work, decision, command, assumed_new)
        except Unloaded:
            raise
        # Any bug in deciding or serialising must cost one message, not the partition (rule 15).
        except Exception as bug:
            log.exception("deciding failed", workflow_id=draft.workflow_id, type=work.message.type)
            self._refuse_internal(draft, work, bug, assumed_new)
            return
        match decision:
            case Decided():
                return
            case Duplicate():
                draft.repeats_start = True
            case Rejection():
                if draft.instance is None and assumed_new:
                    raise Unloaded
                self._refuse(draft, work, decision)

    def _command(self, work: Work) -> Command | Rejection:
        intent = work.inbound.intent
        if not isinstance(intent, StartIntent):
            return intent
        definition = self._definition_for(intent.reference, intent.version)
        return start_command(work.inbound, intent, definition)

    def _accept(
        self, draft: Draft, work: Work, decided: Decided, command: Command, assumed_new: bool
    ) -> None:
        entry = self._entry(draft, work, decided.events, decided.instance)
        messages = entry_outputs(entry)
        size = sum(len(message.data) for message in messages)
        too_large = self._too_large(draft, command, messages, size)
        if too_large is not None:
            if draft.instance is None and assumed_new:
                raise Unloaded
            self._refuse_size(draft, work, command, too_large)
            return
        self._add(draft, work, entry, messages, size, decided.instance)

    def _entry(
        self,
        draft: Draft,
        work: Work,
        events: Sequence[DomainEvent],
        instance: WorkflowInstance,
    ) -> Entry:
        version = draft.first_version + draft.events
        recorded = tuple(
            record(event, instance, version + place) for place, event in enumerate(events)
        )
        return Entry(work.position, work.message.message_id, recorded)

    def _add(
        self,
        draft: Draft,
        work: Work,
        entry: Entry,
        messages: list[Message],
        size: int,
        instance: WorkflowInstance | None,
    ) -> None:
        draft.entries.append(entry)
        draft.messages.extend(messages)
        draft.bytes += size
        draft.events += len(entry.events)
        draft.instance = instance
        command_id = work.message.message_id if work.is_command else None
        if command_id is not None:
            draft.answered.add(command_id)
        draft.memory = draft.memory.after(work.position, command_id, work.at_ms, size)

    # Refusing ------------------------------------------------------------------------------------

    def _refuse(self, draft: Draft, work: Work, rejection: Rejection) -> None:
        """A refusal is recorded with the instance, or with the inbox where there is none (rule 8)."""
        if draft.instance is not None:
            if work.is_command:
                event = self._rejected(work, rejection, draft.instance)
                self._happen(draft, work, draft.instance, (event,))
            return
        if not work.is_command:
            self.orphans += 1
            return
        # Of a batch the refusals come in the order of its workflows, not of their positions: only ids tell.
        inbox = self.refusals
        event = self._rejected(work, rejection, None)
        version = inbox.first_version + inbox.events
        recorded = record_refusal(event, draft.workflow_id, inbox.workflow_id, version)
        entry = Entry(work.position, work.message.message_id, (recorded,))
        messages = entry_outputs(entry)
        size = sum(len(message.data) for message in messages)
        self._add(inbox, work, entry, messages, size, None)

    def _rejected(
        self, work: Work, rejection: Rejection, instance: WorkflowInstance | None
    ) -> CommandRejected:
        return CommandRejected(
            occurred_at=self._now if instance is None else max(self._now, instance.updated_at),
            command_id=work.message.id,
            command_type=work.message.type,
            code=rejection.code.value,
            detail=rejection.detail[:_DETAIL_CHARACTERS],
            status=instance.status.value if instance is not None else None,
            allowed_commands=instance.allowed_commands if instance is not None else (),
            faults=tuple(_shortened(fault) for fault in rejection.faults[:_FAULTS_TOLD]),
        )

    def _happen(
        self,
        draft: Draft,
        work: Work,
        instance: WorkflowInstance,
        events: Sequence[DomainEvent],
    ) -> None:
        """Events that change nothing but the history."""
        for event in events:
            instance = evolve(instance, event)
        entry = self._entry(draft, work, events, instance)
        messages = entry_outputs(entry)
        size = sum(len(message.data) for message in messages)
        self._add(draft, work, entry, messages, size, instance)

    def _refuse_internal(self, draft: Draft, work: Work, bug: Exception, assumed_new: bool) -> None:
        """This one message is refused, and somebody has to look (PROTOCOL rule 15)."""
        if draft.instance is None and assumed_new:
            # It may be a copy of a start that was accepted: only the instance, if there is one, tells.
            raise Unloaded from bug
        detail = f"{type(bug).__name__}: {bug}"[:_DETAIL_CHARACTERS]
        rejection = Rejection(RejectionCode.INTERNAL, detail)
        instance = draft.instance
        if instance is None:
            self._refuse(draft, work, rejection)
            return
        at = max(self._now, instance.updated_at)
        incident = IncidentRaised(occurred_at=at, step_id=None, code="INTERNAL", detail=detail)
        events: tuple[DomainEvent, ...] = (incident,)
        if work.is_command:
            events = (self._rejected(work, rejection, instance), incident)
        self._happen(draft, work, instance, events)

    # Sizes ---------------------------------------------------------------------------------------

    def _too_large(
        self, draft: Draft, command: Command, messages: Sequence[Message], size: int
    ) -> str | None:
        unsendable = _unsendable(messages)
        if unsendable is not None:
            return unsendable
        if draft.memory.size + size > INSTANCE_BYTES_MAX and isinstance(command, _BRINGING_DATA):
            return (
                f"the workflow would hold {draft.memory.size + size} bytes; "
                f"at most {INSTANCE_BYTES_MAX}: pass references instead of data"
            )
        return None

    def _refuse_size(self, draft: Draft, work: Work, command: Command, detail: str) -> None:
        """A command is refused; a participant's answer is taken without what cannot be kept."""
        instance = draft.instance
        if instance is not None and isinstance(command, HandleStepReply | HandleSealAnswer):
            smaller = without_data(command, RejectionCode.TOO_LARGE.value, detail)
            decision = decide(instance, smaller, self._now)
            assert isinstance(decision, Decided)  # answers of participants are never refused
            entry = self._entry(draft, work, decision.events, decision.instance)
            messages = entry_outputs(entry)
            size = sum(len(message.data) for message in messages)
            # The instance's own limit does not count: it must come to its end.
            still = _unsendable(messages)
            if still is None:
                self._add(draft, work, entry, messages, size, decision.instance)
                return
            # What follows from the answer is too large by itself: an undo with all the data of its step.
            detail = still
        self._refuse(draft, work, Rejection(RejectionCode.TOO_LARGE, detail))
        if instance is not None and not work.is_command:
            # A timer or an answer has nobody to be refused to.
            self._raise_incident(draft, work, instance, RejectionCode.TOO_LARGE, detail)

    def _raise_incident(
        self, draft: Draft, work: Work, instance: WorkflowInstance, code: str, detail: str
    ) -> None:
        at = max(self._now, instance.updated_at)
        incident = IncidentRaised(occurred_at=at, step_id=None, code=code, detail=detail)
        self._happen(draft, work, instance, (incident,))


def _repeats(draft: Draft, work: Work) -> bool:
    """Whether the command was answered there before; if so, it is again."""
    message_id = work.message.message_id
    is_known = message_id in draft.memory.command_ids or message_id in draft.answered
    if is_known:
        draft.repeats.append(message_id)
    return is_known


def _shortened(fault: Mapping[str, str]) -> Mapping[str, str]:
    return {name: text[:_FAULT_CHARACTERS] for name, text in fault.items()}


def _unsendable(messages: Sequence[Message]) -> str | None:
    """Which of the messages no topic would take."""
    for message in messages:
        if len(message.data) > MESSAGE_BYTES_MAX:
            return (
                f"{message.type} would have {len(message.data)} bytes; "
                f"a message holds at most {MESSAGE_BYTES_MAX}: pass a reference instead of the data"
            )
    return None

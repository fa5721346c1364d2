"""Deciding a batch in memory: nothing here is visible to anybody until the drafts are appended.

A draft collects what the messages of one batch do to one aggregate: the entries of its commit, the
messages that follow, and the state after it. All is serialised and measured here (PROTOCOL rule 15).
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Final, NamedTuple

import structlog
from conveyor.messages import Message

from application.aggregates.aggregate import Aggregate, Command
from application.aggregates.inbox import INBOX
from application.codec.events import record
from application.codec.internal import Sign
from application.engine.hot import Hot
from application.engine.memory import Memory
from application.engine.partition import Partition
from application.engine.work import Work
from application.outputs import entry_outputs, kept_bytes
from application.ports import Commit, Entry
from domain.aggregate.event import CommandRejected, DomainEvent
from domain.aggregate.kind import (
    Decided,
    Duplicate,
    Moment,
    Standing,
    nothing_follows,
    settle,
)
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.inbox import RefusedUnknown, inbox_id

log = structlog.get_logger("WorkflowEngine")

#: A commit holds at most this much; what does not fit waits for the next insert of the same batch (rule 5).
COMMIT_EVENTS_MAX: Final = 1000
COMMIT_BYTES_MAX: Final = 1_000_000
#: Bytes of data of one message; topics take 1 MiB with headers.
MESSAGE_BYTES_MAX: Final = 1_000_000
#: Bytes of what an instance keeps of its events, so that its document (which repeats outputs) stays under 16 MB.
INSTANCE_BYTES_MAX: Final = 6_000_000

#: Of a refusal, so that no input makes it too large to be published.
_DETAIL_CHARACTERS: Final = 4000
_FAULTS_TOLD: Final = 100
_FAULT_CHARACTERS: Final = 500


@dataclass(slots=True)
class Draft:
    """What a batch does to one aggregate, or would do if it existed (`state` None)."""

    aggregate: Aggregate[Any]
    aggregate_id: str
    partition: int
    state: Any | None
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
        return Draft(hot.aggregate, hot.id, partition, hot.state, hot.memory, hot.version + 1)

    @staticmethod
    def of_nothing(aggregate: Aggregate[Any], aggregate_id: str, partition: int) -> Draft:
        return Draft(aggregate, aggregate_id, partition, None, Memory())

    @property
    def is_full(self) -> bool:
        """Its commit takes no more (PROTOCOL rule 5)."""
        return self.events >= COMMIT_EVENTS_MAX or self.bytes >= COMMIT_BYTES_MAX

    @property
    def commit(self) -> Commit | None:
        if not self.entries:
            return None
        return Commit(self.aggregate_id, self.first_version, self.partition, tuple(self.entries))


class Addition(NamedTuple):
    """What one message does to an aggregate, not yet part of its draft."""

    entry: Entry
    messages: Sequence[Message]
    #: Bytes that the document of the aggregate grows by, about.
    kept: int
    state: Any


class Unloaded(Exception):
    """The draft assumed that the aggregate is new, and something in the batch needs to know."""


class Drafter:
    """Decides messages against drafts; one per partition and batch."""

    def __init__(self, partition: Partition, now: datetime, share: int, sign: Sign) -> None:
        """`share`: the most messages of one aggregate that one insert takes; coordinators have no such limit,
        since one of them serves many."""
        self._now = now
        self._share = share
        self._sign = sign
        number, inbox = partition.number, partition.inbox
        #: The refusals of this batch.
        self.inbox = (
            Draft.of(inbox, number)
            if inbox is not None
            else Draft.of_nothing(INBOX, inbox_id(number), number)
        )
        #: Replies and timers for workflows that do not exist.
        self.orphans = 0

    def decide_all(self, draft: Draft, works: Sequence[Work], *, assumed_new: bool = False) -> None:
        """Decide the messages for one aggregate in order, until its share is used or the commit is full.

        With `assumed_new` nobody looked whether the aggregate exists: the fence will tell for a start,
        and `Unloaded` is raised for anything else.
        """
        share = len(works) if draft.aggregate.is_coordinator else self._share
        for place, work in enumerate(works):
            if draft.is_full or self.inbox.is_full or place >= share:
                draft.left = works[place:]
                return
            if not draft.memory.has_applied(work.position):
                self._decide(draft, work, assumed_new)

    def _decide(self, draft: Draft, work: Work, assumed_new: bool) -> None:
        # What was refused when the workflow did not exist stays refused (rule 8).
        if work.is_command and (_repeats(draft, work) or _repeats(self.inbox, work)):
            return
        command = work.command
        kind = draft.aggregate.kind
        if draft.state is None and assumed_new and type(command) not in kind.creating:
            raise Unloaded
        if isinstance(command, Rejection):
            self._refuse(draft, work, command)
            return
        try:
            decision = kind.decide(draft.state, command, self._moment(work))
            if isinstance(decision, Decided):
                self._accept(draft, work, decision, command, assumed_new)
        except Unloaded:
            raise
        # Any bug in deciding or serialising must cost one message, not the partition (rule 15).
        except Exception as bug:
            log.exception("deciding failed", workflow_id=draft.aggregate_id, type=work.message.type)
            self._refuse_internal(draft, work, bug, assumed_new)
            return
        match decision:
            case Decided():
                return
            case Duplicate():
                draft.repeats_start = True
            case Rejection():
                if draft.state is None and assumed_new:
                    raise Unloaded
                self._refuse(draft, work, decision)

    def _moment(self, work: Work) -> Moment:
        at = work.not_before
        return Moment(self._now if at is None else max(self._now, at))

    def _accept(
        self, draft: Draft, work: Work, decided: Decided[Any], command: Command, assumed_new: bool
    ) -> None:
        addition = self._addition(draft, work, decided)
        too_large = self._too_large(draft, command, addition)
        if too_large is not None:
            if draft.state is None and assumed_new:
                raise Unloaded
            self._refuse_size(draft, work, command, too_large)
            return
        self._add(draft, work, addition)

    def _addition(self, draft: Draft, work: Work, decided: Decided[Any]) -> Addition:
        version = draft.first_version + draft.events
        recorded = [
            record(draft.aggregate, event, decided.state, version + place)
            for place, event in enumerate(decided.events)
        ]
        entry = Entry(work.position, work.message.message_id, tuple(recorded), decided.primary)
        messages = entry_outputs(entry, self._sign)
        return Addition(entry, messages, kept_bytes(entry), decided.state)

    def _add(self, draft: Draft, work: Work, addition: Addition) -> None:
        draft.entries.append(addition.entry)
        draft.messages.extend(addition.messages)
        draft.bytes += sum([len(message.data) for message in addition.messages])
        draft.events += len(addition.entry.events)
        draft.state = addition.state
        command_id = work.message.message_id if work.is_command else None
        if command_id is not None:
            draft.answered.add(command_id)
        draft.memory = draft.memory.after(work.position, command_id, work.at_ms, addition.kept)

    def _happen(self, draft: Draft, work: Work, events: Sequence[DomainEvent]) -> None:
        """Events that are taken as they are; nothing follows from them."""
        kind = draft.aggregate.kind
        decided = settle(draft.state, events, kind.evolve, nothing_follows, draft.aggregate_id)
        self._add(draft, work, self._addition(draft, work, decided))

    # Refusing ------------------------------------------------------------------------------------

    def _refuse(self, draft: Draft, work: Work, rejection: Rejection) -> None:
        """A refusal is recorded with the aggregate, or with the inbox where there is none (rule 8)."""
        if draft.state is not None:
            if work.is_command:
                self._happen(draft, work, (self._rejected(draft, work, rejection),))
        elif work.is_command:
            # Of a batch the refusals come in the order of its workflows, not of their positions: only ids tell.
            refusal = RefusedUnknown(
                aggregate_id=draft.aggregate_id,
                occurred_at=self._now,
                **_refusal(work, rejection, Standing()),
            )
            self._happen(self.inbox, work, (refusal,))
        else:
            self.orphans += 1

    def _rejected(self, draft: Draft, work: Work, rejection: Rejection) -> CommandRejected:
        standing = draft.aggregate.kind.standing(draft.state)
        return CommandRejected(
            occurred_at=self._not_before(draft), **_refusal(work, rejection, standing)
        )

    def _not_before(self, draft: Draft) -> datetime:
        return self._now if draft.state is None else max(self._now, draft.state.updated_at)

    def _refuse_internal(self, draft: Draft, work: Work, bug: Exception, assumed_new: bool) -> None:
        """This one message is refused, and somebody has to look (PROTOCOL rule 15)."""
        if draft.state is None and assumed_new:
            # It may be a copy of an accepted start: only the aggregate, if there is one, can show that.
            raise Unloaded from bug
        detail = f"{type(bug).__name__}: {bug}"[:_DETAIL_CHARACTERS]
        rejection = Rejection(RejectionCode.INTERNAL, detail)
        if draft.state is None:
            self._refuse(draft, work, rejection)
            return
        events: list[DomainEvent] = []
        if work.is_command:
            events.append(self._rejected(draft, work, rejection))
        events.extend(self._incident(draft, rejection.code, detail))
        if events:
            self._happen(draft, work, events)

    def _incident(self, draft: Draft, code: str, detail: str) -> Sequence[DomainEvent]:
        raised = draft.aggregate.kind.incident
        return () if raised is None else (raised(self._not_before(draft), code, detail),)

    # Sizes ---------------------------------------------------------------------------------------

    def _too_large(self, draft: Draft, command: Command, addition: Addition) -> str | None:
        unsendable = _unsendable(addition.messages)
        if unsendable is not None or draft.aggregate.is_coordinator:
            return unsendable
        brings_data = type(command) in draft.aggregate.kind.bringing_data
        size = draft.memory.size + addition.kept
        if size > INSTANCE_BYTES_MAX and brings_data:
            return (
                f"the workflow would hold {size} bytes; "
                f"at most {INSTANCE_BYTES_MAX}: pass references instead of data"
            )
        return None

    def _refuse_size(self, draft: Draft, work: Work, command: Command, detail: str) -> None:
        """A command is refused; a participant's answer is taken without what cannot be kept."""
        aggregate, code = draft.aggregate, RejectionCode.TOO_LARGE
        smaller = aggregate.shrink(command, code.value, detail) if draft.state is not None else None
        if smaller is not None:
            decision = aggregate.kind.decide(draft.state, smaller, self._moment(work))
            assert isinstance(decision, Decided)  # answers of participants are never refused
            addition = self._addition(draft, work, decision)
            # The aggregate's own limit does not count: it must come to its end.
            still = _unsendable(addition.messages)
            if still is None:
                self._add(draft, work, addition)
                return
            # What follows from the answer is too large by itself: an undo with all the data of its step.
            detail = still
        self._refuse(draft, work, Rejection(code, detail))
        if draft.state is not None and not work.is_command:
            # A timer or an answer has nobody to be refused to.
            incident = self._incident(draft, code.value, detail)
            if incident:
                self._happen(draft, work, incident)


def _refusal(work: Work, rejection: Rejection, standing: Standing) -> dict[str, Any]:
    """The fields of a refusal, cut so that no input makes it too large to be published."""
    return {
        "command_id": work.message.id,
        "command_type": work.message.type,
        "code": rejection.code.value,
        "detail": rejection.detail[:_DETAIL_CHARACTERS],
        "status": standing.status,
        "allowed_commands": standing.allowed_commands,
        "faults": tuple(_shortened(fault) for fault in rejection.faults[:_FAULTS_TOLD]),
    }


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

"""What an engine keeps in memory of the partitions that it owns; all of it can be read again from the stores."""

from __future__ import annotations

import heapq
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from datetime import datetime, timedelta
from typing import NamedTuple

from application.codec.events import DefinitionOf
from application.codec.instances import from_document, to_document
from application.ports import INBOX_PREFIX, Document
from domain.aggregate.position import Position
from domain.definition.definition import WorkflowDefinition
from domain.workflow.commands import FireTimer
from domain.workflow.instance import WorkflowInstance
from domain.workflow.timers import Timer, next_due, timers_of

#: Newest command ids that an instance keeps; older ones are found in the log (PROTOCOL rule 9).
COMMAND_IDS_KEPT = 1000
#: The longest wait before a timer is sent again, in first waits.
RESENDS_MAX_FACTOR = 64
#: Entries of the timer heap that may be of no use before it is built anew.
_STALE_TIMERS_KEPT = 1000

Lane = tuple[str, int]
Order = tuple[int, int]


@dataclass(frozen=True, slots=True)
class Memory:
    """What one aggregate remembers of its inbox: the highest position applied per lane, and command ids with
    their times (milliseconds since 1970), oldest first."""

    applied: Mapping[Lane, Order] = field(default_factory=dict[Lane, Order])
    command_ids: Mapping[str, int] = field(default_factory=dict[str, int])
    #: Bytes of events so far, an upper bound of what the document can grow to.
    size: int = 0

    def has_applied(self, position: Position) -> bool:
        order = self.applied.get(position.lane)
        return order is not None and position.order <= order

    def after(self, position: Position, command_id: str | None, at_ms: int, size: int) -> Memory:
        """The memory once a message was applied; replies and timers leave no command id."""
        command_ids = self.command_ids
        if command_id is not None:
            command_ids = {**command_ids, command_id: at_ms}
            if len(command_ids) > COMMAND_IDS_KEPT:
                del command_ids[next(iter(command_ids))]
        lane, order = position.lane, position.order
        applied = {**self.applied, lane: max(order, self.applied.get(lane, order))}
        return Memory(applied, command_ids, self.size + size)

    @property
    def is_full(self) -> bool:
        """Some command ids may have left the window."""
        return len(self.command_ids) >= COMMAND_IDS_KEPT

    def may_forget(self, messages: int) -> bool:
        """Some command ids will have left the window when so many more messages are applied."""
        return len(self.command_ids) + messages > COMMAND_IDS_KEPT

    def document(self) -> Document:
        return {
            "applied": [
                {
                    "topicId": lane[0],
                    "partition": lane[1],
                    "leaderEpoch": order[0],
                    "offset": order[1],
                }
                for lane, order in self.applied.items()
            ],
            "commandIds": [[command_id, at] for command_id, at in self.command_ids.items()],
            "size": self.size,
        }

    @staticmethod
    def from_document(document: Document) -> Memory:
        applied = {
            (place["topicId"], place["partition"]): (place["leaderEpoch"], place["offset"])
            for place in document["applied"]
        }
        command_ids = dict(document["commandIds"])
        return Memory(applied, command_ids, document["size"])


class Sent(NamedTuple):
    """A timer's message is under way."""

    again_at: datetime
    wait: timedelta


@dataclass(slots=True)
class Hot:
    """One instance in memory."""

    instance: WorkflowInstance
    memory: Memory
    #: The version that the projection has.
    projected: int = 0
    #: The earliest entry of the timer heap for it.
    armed: datetime | None = None
    #: Timers that were sent to the inbox and are not applied yet.
    sent: dict[FireTimer, Sent] = field(default_factory=dict[FireTimer, Sent])

    def next_send(self) -> datetime | None:
        """When the first of its timers is due, or, if sent, due again; None without any."""
        if not self.sent:
            return next_due(self.instance)
        timers = timers_of(self.instance)
        self.sent = {t.firing: self.sent[t.firing] for t in timers if t.firing in self.sent}
        moments = [self._moment(timer) for timer in timers]
        return min(moments, default=None)

    def send_due(self, now: datetime, resend_after: timedelta) -> list[FireTimer]:
        """The timers to be sent now.

        Each comes again until it was applied, after twice the time before: an engine that is behind
        must not bury itself under copies.
        """
        firings: list[FireTimer] = []
        for timer in timers_of(self.instance):
            if self._moment(timer) <= now:
                before = self.sent.get(timer.firing)
                wait = (
                    min(before.wait * 2, RESENDS_MAX_FACTOR * resend_after)
                    if before
                    else resend_after
                )
                self.sent[timer.firing] = Sent(now + wait, wait)
                firings.append(timer.firing)
        return firings

    def _moment(self, timer: Timer) -> datetime:
        sent = self.sent.get(timer.firing)
        return timer.due_at if sent is None else sent.again_at

    def document(self, partition: int) -> Document:
        return to_document(self.instance, partition, self.memory.document())

    @staticmethod
    def from_document(document: Document, definition_of: DefinitionOf) -> Hot:
        return Hot(
            instance=from_document(document, definition_of),
            memory=Memory.from_document(document["engine"]),
            projected=document["version"],
        )


def inbox_id(partition: int) -> str:
    """The aggregate that holds refusals of commands to workflows that do not exist (PROTOCOL rule 8)."""
    return f"{INBOX_PREFIX}{partition}"


@dataclass(slots=True)
class Refusals:
    """The state of the inbox aggregate of one partition."""

    version: int = 0
    memory: Memory = field(default_factory=Memory)
    projected: int = 0

    def document(self, partition: int) -> Document:
        return {
            "_id": inbox_id(partition),
            "partition": partition,
            "version": self.version,
            "engine": self.memory.document(),
        }

    @staticmethod
    def from_document(document: Document) -> Refusals:
        version = document["version"]
        return Refusals(version, Memory.from_document(document["engine"]), version)


class Partition:
    """One inbox partition that this engine owns."""

    def __init__(self, number: int) -> None:
        self.number = number
        #: By id, least recently used first.
        self.instances: dict[str, Hot] = {}
        self.refusals = Refusals()
        #: What starts were accepted on: registered when the partition was claimed last.
        self.definitions: set[WorkflowDefinition] = set()
        #: Instances whose projection is behind: changed since the last round of projecting, and before it.
        #: A round writes the older ones, in their newest state, so that most short workflows are written once.
        self.dirty: set[str] = set()
        self.aging: set[str] = set()
        #: topic -> offset of the next message to decide, and what it was when `aging` was closed.
        self.decided: dict[str, int] = {}
        self.aging_offsets: dict[str, int] = {}
        #: What was last written as the start: topic -> offset.
        self.committed: dict[str, int] = {}
        self.topic_ids: dict[str, str] = {}
        #: Timers wait until the replies that lay here at the assignment are decided (PROTOCOL rule 13).
        self.replies_end: int = 0
        #: Up to when the projection's timers were read.
        self.timers_read_until: datetime | None = None
        #: One entry counts for each instance that has a timer, the one that `armed` names. Others stay when their
        #: instance leaves or is read again, until they are due or too many.
        self._heap: list[tuple[datetime, str]] = []

    def is_behind(self) -> bool:
        """Something is not projected or not committed yet."""
        return bool(
            self.dirty
            or self.aging
            or self.decided != self.committed
            or self.refusals.version > self.refusals.projected
        )

    def changed(self, workflow_id: str) -> None:
        """Its projection is behind. One that the next round writes anyway is not noted for another one."""
        if workflow_id not in self.aging:
            self.dirty.add(workflow_id)

    def age(self) -> None:
        """What changed until now is written by the next round."""
        self.aging, self.dirty = self.dirty, set()
        self.aging_offsets = dict(self.decided)

    def touch(self, workflow_id: str) -> Hot | None:
        """The instance, marked as most recently used."""
        hot = self.instances.pop(workflow_id, None)
        if hot is not None:
            self.instances[workflow_id] = hot
        return hot

    def forget(self, workflow_id: str) -> None:
        """Drop an instance that turned out not to be the newest; it is read again."""
        self.instances.pop(workflow_id, None)
        self.dirty.discard(workflow_id)
        self.aging.discard(workflow_id)

    def put(self, hot: Hot) -> None:
        """Keep an instance; its timers are armed."""
        self.instances[hot.instance.id] = hot
        self.arm(hot)

    def put_back(self, hot: Hot) -> None:
        """Keep an instance that was read from the stores; what its projection lacks is written soon."""
        self.put(hot)
        if hot.instance.version > hot.projected:
            self.changed(hot.instance.id)

    def arm(self, hot: Hot) -> None:
        """See to it that the heap has an entry not later than its next timer."""
        due = hot.next_send()
        if due is not None and (hot.armed is None or due < hot.armed):
            self._push(due, hot)

    def _push(self, due: datetime, hot: Hot) -> None:
        hot.armed = due
        heapq.heappush(self._heap, (due, hot.instance.id))
        if len(self._heap) > 2 * len(self.instances) + _STALE_TIMERS_KEPT:
            self._heap = [
                (h.armed, id_) for id_, h in self.instances.items() if h.armed is not None
            ]
            heapq.heapify(self._heap)

    def next_timer(self) -> datetime | None:
        return self._heap[0][0] if self._heap else None

    def take_due(
        self, now: datetime, resend_after: timedelta
    ) -> Iterator[tuple[Hot, list[FireTimer]]]:
        """Instances with the timers that are to be sent now; the first copy of each follows after `resend_after`."""
        while self._heap and self._heap[0][0] <= now:
            due_at, workflow_id = heapq.heappop(self._heap)
            hot = self.instances.get(workflow_id)
            if hot is None or hot.armed != due_at:
                continue
            hot.armed = None
            firings = hot.send_due(now, resend_after)
            self.arm(hot)
            if firings:
                yield hot, firings

    def evict(self, limit: int, timers_after: datetime) -> None:
        """Forget the least recently used instances over the limit that are projected and have no near timer."""
        excess = len(self.instances) - limit
        if excess <= 0:
            return
        for workflow_id, hot in list(self.instances.items()):
            if excess <= 0:
                return
            # Who forgets what was sent sends it again at once.
            near = bool(hot.sent) or (hot.armed is not None and hot.armed < timers_after)
            behind = workflow_id in self.dirty or workflow_id in self.aging
            if not behind and not near:
                del self.instances[workflow_id]
                excess -= 1

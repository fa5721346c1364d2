"""The engine with a rule of its own switched off (PROTOCOL rules 6, 8, 9, 11 to 17 and 20)."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import orjson
from conveyor.messages import Message, Record
from conveyor.values import replace as changed_message

from application import queries
from application.aggregates.aggregate import DefinitionKey
from application.codec import starts
from application.codec.internal import Sign
from application.engine import batch, drafts, processor, projector, takeover, timekeeper
from application.engine.batch import Batch
from application.engine.claims import Claims
from application.engine.drafts import Addition, Draft, Drafter
from application.engine.environment import Health, Ports, ProcessorSettings
from application.engine.held_topics import HeldTopics
from application.engine.hot import Hot
from application.engine.loader import Loaded, Loader, _Stored
from application.engine.memory import Memory
from application.engine.partition import Partition
from application.engine.processor import Processor
from application.engine.projector import Projector
from application.engine.publication import Publication
from application.engine.takeover import Taken, Takeover
from application.engine.watchers import TimerHeap
from application.engine.work import Work
from application.outputs import outputs
from application.ports import Commit, Document, InboxStart, LaneState, Received
from domain.aggregate.event import DomainEvent
from domain.aggregate.position import Position
from domain.definition.definition import WorkflowDefinition
from domain.workflow import decide
from domain.workflow.commands import Firing
from domain.workflow.events import StepReplyIgnored
from domain.workflow.instance import WorkflowInstance
from domain.workflow.timers import fire, timers_of
from tests.simulation.definitions import SHELF
from tests.simulation.mutants.mutant import patched
from tests.simulation.workload import RAISES

# -- rule 6 and 15: what is published ------------------------------------------------------------


async def _lost_with_the_outcome(engine: Processor, partitions: Sequence[int]) -> None:
    await engine._publication.abandon()
    await engine._projector.abandon()
    engine._forget(partitions)


def _nothing(_: Commit, __: Sign) -> list[Message]:
    return []


def _in_other_words(commit: Commit, sign: Sign) -> list[Message]:
    """As a newer version of the code might say it."""
    return [
        changed_message(message, data=orjson.dumps({**orjson.loads(message.data), "again": True}))
        for message in outputs(commit, sign)
    ]


# -- rules 7 and 12: what waits for a publication ------------------------------------------------


async def _begin_at_once(
    publication: Publication,
    messages: Sequence[Message | Record],
    published: Callable[[], None],
) -> None:
    """Beside the one under way."""
    publishing = asyncio.ensure_future(publication._publisher.publish(messages))
    publishing.add_done_callback(lambda done: done.cancelled() or done.exception())
    publication._under_way = publishing
    published()


class _Impatient(Projector):
    """Does not look whether what it projects and commits is published."""

    def __init__(
        self,
        ports: Ports,
        settings: ProcessorSettings,
        health: Health,
        _: Publication,
        held: HeldTopics,
    ) -> None:
        super().__init__(ports, settings, health, Publication(ports.publisher), held)


# -- rules 8 and 9: what is remembered -----------------------------------------------------------

_after = Memory.after
_add = Drafter._add
_refuse = Drafter._refuse


def _no_ids(memory: Memory, position: Position, _: str | None, at_ms: int, size: int) -> Memory:
    return _after(memory, position, None, at_ms, size)


def _add_changes_only(drafter: Drafter, draft: Draft, work: Work, addition: Addition) -> None:
    if any(event.type != StepReplyIgnored.TYPE for event in addition.entry.events):
        _add(drafter, draft, work, addition)


def _refuse_by_word(drafter: Drafter, draft: Draft, work: Work, rejection: Any) -> None:
    """The refusal is published and not recorded."""
    inbox = drafter.inbox
    before, state = len(inbox.entries), inbox.state
    _refuse(drafter, draft, work, rejection)
    if draft.state is None and len(inbox.entries) > before:
        entry = inbox.entries.pop()
        inbox.events -= len(entry.events)
        inbox.state = state


async def _claim_nothing(_: Claims, __: Sequence[Partition]) -> list[int]:
    """Nobody forestalls what is not written."""
    return []


_find_forgotten = Batch._find_forgotten


async def _find_of_the_inbox(batch: Batch, draft: Draft, works: Sequence[Work]) -> None:
    if draft.aggregate_id.startswith("inbox:"):
        await _find_forgotten(batch, draft, works)


async def _find_of_workflows(batch: Batch, draft: Draft, works: Sequence[Work]) -> None:
    if not draft.aggregate_id.startswith("inbox:"):
        await _find_forgotten(batch, draft, works)


async def _find_by_time(batch: Batch, draft: Draft, works: Sequence[Work]) -> None:
    memory = draft.memory
    for work in works:
        kept = memory.command_ids.values()
        if work.is_command and memory.is_full and work.at_ms <= next(iter(kept)):
            message_id = work.message.message_id
            found = await batch._ports.event_log.find_messages(draft.aggregate_id, [message_id])
            draft.answered.update(found)


# -- rules 11 and 16: where to begin -------------------------------------------------------------


def _any_topic(_: Takeover, lane: LaneState, stored: InboxStart | None) -> int:
    return max(stored.offset if stored is not None else 0, lane.committed or 0)


def _from_the_end(_: Takeover, lane: LaneState, __: InboxStart | None) -> int:
    return lane.committed if lane.committed is not None else lane.end


# -- rule 12: what is projected ------------------------------------------------------------------


def _evict_anything(partition: Partition, limit: int, _: datetime) -> None:
    for workflow_id in list(partition.states)[: max(0, len(partition.states) - limit)]:
        partition.forget(workflow_id)


async def _warm_nothing(_: Projector, __: Sequence[Document]) -> None:
    """Fast readers are shown nothing."""


_write = Projector._write


async def _write_marks_first(of: Projector, snapshot: projector._Snapshot) -> None:
    await of._say_how_far(snapshot)
    await _write(of, snapshot)


def _complete_until_the_round(_: Partition, now: datetime) -> datetime:
    """What changed since the last round is in the next one only."""
    return now - timedelta(milliseconds=1)


async def _nothing_behind_the_start(of: queries.WorkflowReader) -> datetime:
    behind = [mark.until for mark in await of._projections.marks() if mark.until is not None]
    return min([of._clock.now() - queries._LAG, *behind])


_take_over = Takeover.take_over


async def _with_the_caches_of_before(takeover: Any, lanes: Sequence[LaneState]) -> Taken:
    """What it held of a partition when it lost it is there again, with its timers, unless it was read anew."""
    taken = await _take_over(takeover, lanes)
    before: dict[int, Partition] = takeover.__dict__.setdefault("before", {})
    for partition in taken.partitions:
        kept = before.get(partition.number)
        for workflow_id, hot in kept.states.items() if kept is not None else ():
            if workflow_id not in partition.states:
                partition.put(replace(hot))
        before[partition.number] = partition
    return taken


_take = projector._take


def _take_with_newest_offsets(
    partitions: Iterable[Partition], now: datetime, *, everything: bool = False
) -> projector._Snapshot:
    """Offsets get ahead of what is written."""
    owned = list(partitions)
    for partition in owned:
        partition.aging_offsets = dict(partition.decided)
    return _take(owned, now, everything=everything)


# -- rule 13: timers -----------------------------------------------------------------------------


def _fire_by_the_clock(
    instance: WorkflowInstance, firing: Firing, now: datetime
) -> Sequence[DomainEvent]:
    if any(t.firing == firing and t.due_at > now for t in timers_of(instance)):
        return (
            StepReplyIgnored(
                occurred_at=now,
                step_id=firing.subject,
                reason="it is not time yet",
                attempt=firing.number,
                round=firing.round,
            ),
        )
    return fire(instance, firing, now)


_watch = TimerHeap.__init__


def _send_once(heap: TimerHeap, sign: Sign, _: timedelta) -> None:
    _watch(heap, sign, timedelta(days=1))


def _first(first: datetime, _: datetime) -> datetime:
    return first


def _put_back_unarmed(partition: Partition, hot: Hot) -> None:
    partition.states[hot.id] = hot
    if hot.version > hot.projected:
        partition.aging.add(hot.id)


def _keep_nothing(_: Partition, __: int) -> None:
    """Where the replies ended is not remembered."""


# -- rule 15: sizes and bugs ---------------------------------------------------------------------


def _fits_always(*_: Any) -> None:
    return None


def _raise(_: Drafter, __: Draft, ___: Work, bug: Exception, ____: bool) -> None:
    raise bug


def _hold_nothing(_: HeldTopics, __: str, ___: str) -> None:
    """A topic that refuses messages is one that is away."""


def _sort_up_to_what_raises(received: Sequence[Received], *others: Any) -> Any:
    """A record that raises ends its batch: what comes behind it is passed over."""
    end = next((n for n, each in enumerate(received, 1) if each.record.value == RAISES), None)
    return _sort(received[:end], *others)


# -- rule 17: identity ---------------------------------------------------------------------------

_derived_id = starts.derived_id
_sort = processor.sort


def _of_the_key_alone(tenant: str, _: str, seed: str) -> str:
    return _derived_id(tenant, "any", seed)


def _sort_without_letters(*arguments: Any) -> Any:
    """What nobody can read is passed over."""
    intake = _sort(*arguments)
    intake.dead_letters.clear()
    return intake


def _take_where_it_lies(received: Any, partition_of: Any, _: Any, *others: Any) -> Any:
    return _sort(received, partition_of, lambda _, __: True, *others)


# -- rule 20 and versions ------------------------------------------------------------------------


class _ProjectionOnly(Loader):
    async def load(self, wanted: Mapping[str, int]) -> Mapping[str, Loaded]:
        documents = await self._projections.load(list(wanted))
        definitions: dict[tuple[str, int], WorkflowDefinition] = {}
        return {
            key: await self._read(key, _Stored(document, ()), definitions)
            for key, document in documents.items()
        }


async def _newest(_: Loader, key: DefinitionKey) -> WorkflowDefinition | None:
    return SHELF.find(key.name, None, is_deployed=True)


MUTANTS = (
    patched(
        "tail-not-published-at-assignment",
        6,
        "a new owner does not publish what the last one may not have",
        (takeover, "outputs", _nothing),
    ),
    patched(
        "tail-not-published-on-load",
        6,
        "an instance is loaded, and what its projection lacks is not published",
        (batch, "outputs", _nothing),
        (timekeeper, "outputs", _nothing),
    ),
    patched(
        "failure-forgotten-with-a-partition",
        6,
        "what was not published is forgotten when another partition is lost",
        (Processor, "lost", _lost_with_the_outcome),
    ),
    patched(
        "commit-unbounded",
        5,
        "a commit takes whatever its batch has for an instance",
        (drafts, "COMMIT_EVENTS_MAX", 1_000_000),
        (drafts, "COMMIT_BYTES_MAX", 1_000_000_000),
    ),
    patched(
        "refusals-not-recorded",
        8,
        "a refusal without a workflow is published and not recorded",
        (Drafter, "_refuse", _refuse_by_word),
    ),
    patched(
        "takeover-does-not-claim",
        8,
        "a takeover reads the refusals of a partition and writes nothing there",
        (Claims, "_append", _claim_nothing),
    ),
    patched(
        "command-ids-not-kept", 8, "copies of a command are not known", (Memory, "after", _no_ids)
    ),
    patched(
        "positions-not-compared",
        8,
        "what was applied is decided again when it comes again",
        (Memory, "has_applied", lambda *_: False),
    ),
    patched(
        "old-refusals-not-looked-up",
        8,
        "what was refused without a workflow is forgotten once its id left the window",
        (Batch, "_find_forgotten", _find_of_workflows),
    ),
    patched(
        "ignored-leaves-no-entry",
        8,
        "a reply or timer that changes nothing is not recorded",
        (Drafter, "_add", _add_changes_only),
    ),
    patched(
        "old-ids-not-looked-up",
        9,
        "a command id that left the window is forgotten",
        (Batch, "_find_forgotten", _find_of_the_inbox),
    ),
    patched(
        "old-ids-told-by-time",
        9,
        "only commands older than the oldest id in the window are looked up",
        (Batch, "_find_forgotten", _find_by_time),
    ),
    patched(
        "leader-epoch-ignored",
        11,
        "an offset that is given out again is taken for applied",
        (Position, "order", property(lambda position: (0, position.offset))),
    ),
    patched(
        "topic-id-ignored",
        11,
        "an engine works on though an inbox topic was recreated",
        (Takeover, "_start_of", _any_topic),
    ),
    patched(
        "evicted-before-projected",
        12,
        "instances leave the memory before their projection is written",
        (Partition, "evict", _evict_anything),
    ),
    patched(
        "refused-taken-for-sent",
        7,
        "offsets are committed though a topic refused messages of what came before",
        (HeldTopics, "is_any", False),
    ),
    patched(
        "refusing-topic-stops-all",
        7,
        "a topic that refuses messages is taken for a broker that is away",
        (HeldTopics, "_hold", _hold_nothing),
    ),
    patched(
        "publications-overtake",
        7,
        "the next batch is published without waiting for the last one, nor asking how it ended",
        (Publication, "begin", _begin_at_once),
    ),
    patched(
        "projected-before-published",
        12,
        "states are shown and offsets committed though what led to them is still being published",
        (processor, "Projector", _Impatient),
    ),
    patched(
        "offsets-before-projection",
        12,
        "offsets are committed of what is not projected yet",
        (projector, "_take", _take_with_newest_offsets),
    ),
    patched(
        "hot-state-not-written",
        12,
        "states are projected and not shown to fast readers",
        (Projector, "_warm", _warm_nothing),
    ),
    patched(
        "marks-before-documents",
        12,
        "readers are told how far lists are before it is written",
        (Projector, "_write", _write_marks_first),
    ),
    patched(
        "marks-of-the-round",
        12,
        "lists are said to have what changed since the last round of projecting, too",
        (Partition, "complete_until", _complete_until_the_round),
    ),
    patched(
        "lists-without-the-log",
        12,
        "of a partition that has nothing to do, readers do not look for what follows its start in the log",
        (queries.WorkflowReader, "_as_of", _nothing_behind_the_start),
    ),
    patched(
        "caches-outlive-assignment",
        12,
        "who gets a partition back goes on with what it held of it before",
        (Takeover, "take_over", _with_the_caches_of_before),
    ),
    patched(
        "timers-not-registered",
        13,
        "an instance that is loaded does not register its timers",
        (Partition, "put_back", _put_back_unarmed),
    ),
    patched(
        "timers-told-by-clock",
        13,
        "a timer that fires early by the decider's clock is dropped",
        (decide, "_HANDLERS", {**decide._HANDLERS, Firing: _fire_by_the_clock}),
    ),
    patched(
        "timers-sent-once",
        13,
        "a timer is not sent again when it was not applied",
        (TimerHeap, "__init__", _send_once),
    ),
    patched(
        "time-runs-backwards",
        13,
        "events bear the decider's clock, though earlier ones are later",
        (decide, "max", _first),
    ),
    patched(
        "time-outs-before-replies",
        13,
        "time-outs are sent before the replies that lay there at the assignment are decided",
        (Partition, "replies_end", property(lambda _: 0, _keep_nothing)),
    ),
    patched(
        "oversize-appended",
        15,
        "what is too large for the topic is found out after the append",
        (Drafter, "_too_large", _fits_always),
    ),
    patched(
        "bug-stops-partition",
        15,
        "an exception in deciding is not caught",
        (Drafter, "_refuse_internal", _raise),
    ),
    patched(
        "raising-record-ends-batch",
        15,
        "what comes behind a record that raises is passed over",
        (processor, "sort", _sort_up_to_what_raises),
    ),
    patched(
        "published-in-other-words",
        15,
        "another version of the code publishes a commit differently",
        (takeover, "outputs", _in_other_words),
        (batch, "outputs", _in_other_words),
        (timekeeper, "outputs", _in_other_words),
    ),
    patched(
        "start-at-the-end",
        16,
        "a group whose offsets expired begins at the end of its topics",
        (Takeover, "_start_of", _from_the_end),
    ),
    patched(
        "derived-id-of-key-alone",
        17,
        "one key for two definitions is one workflow",
        (starts, "derived_id", _of_the_key_alone),
    ),
    patched(
        "payload-not-compared",
        17,
        "the same key with another payload is answered as the first one",
        (starts, "payload_hash", lambda _: ""),
    ),
    patched(
        "wrong-partition-applied",
        17,
        "a message is applied on whatever partition it lies",
        (processor, "sort", _take_where_it_lies),
    ),
    patched(
        "read-without-tail",
        20,
        "a workflow is read from its projection alone",
        (queries, "Loader", _ProjectionOnly),
    ),
    patched(
        "dead-letter-dropped",
        0,
        "what nobody can read is passed over without a dead letter",
        (processor, "sort", _sort_without_letters),
    ),
    patched(
        "instance-not-pinned",
        0,
        "an instance goes on with the newest version of its definition",
        (Loader, "_definition", _newest),
    ),
)

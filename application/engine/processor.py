"""The partition processor: take, load, decide, append, publish, project, commit (DESIGN 3).

There is one way to recover from whatever goes wrong half-way: forget everything in memory and begin again
at the committed offsets, as another engine would after a crash. Positions remembered with each instance
keep what was applied from being applied again; what was appended and not published is published first.
"""

from __future__ import annotations

import random
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import timedelta
from typing import Protocol

import structlog
from conveyor.messages import Message, Record

from application.codec.commands import StartIntent
from application.engine.drafts import Draft, Drafter, Unloaded, Work
from application.engine.hot import Hot, Partition
from application.engine.intake import Intake, sort
from application.engine.loader import Loaded, Loader
from application.engine.projector import Projector
from application.engine.takeover import Takeover
from application.engine.timekeeper import Timekeeper
from application.outputs import entry_outputs
from application.ports import (
    Clock,
    Entry,
    EventLog,
    HotState,
    Inbox,
    InboxLayout,
    LaneState,
    Projections,
    PublishEventPort,
    Received,
    Telemetry,
    Unavailable,
)
from domain.definition import WorkflowDefinition
from domain.position import TopicPartition

log = structlog.get_logger("WorkflowEngine")


class Definitions(Protocol):
    """Registered definitions, compiled."""

    async def get(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        """That version, or the newest where none is named; None if there is none such."""
        ...

    def cached(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        """The same from memory, if it was looked up lately."""
        ...


@dataclass(frozen=True, slots=True, kw_only=True)
class ProcessorSettings:
    #: Messages taken at once.
    batch_size: int = 1000
    #: How far projections and committed offsets may be behind.
    projection_interval: timedelta = timedelta(milliseconds=400)
    #: How far ahead timers are read from the projection.
    timers_ahead: timedelta = timedelta(seconds=30)
    #: A due timer is sent again after this until it was applied.
    timer_resend: timedelta = timedelta(seconds=5)
    #: Instances kept in memory beyond those with a near timer.
    cached_instances: int = 20_000
    #: The first wait after a server did not answer; doubled up to 16 times it.
    retry_wait_seconds: float = 0.25


@dataclass(frozen=True, slots=True, kw_only=True)
class Ports:
    """Everything that the processor talks to."""

    inbox: Inbox
    publisher: PublishEventPort
    event_log: EventLog
    projections: Projections
    hot_state: HotState | None
    definitions: Definitions
    telemetry: Telemetry
    clock: Clock


@dataclass(slots=True)
class Health:
    """What the health document says of the engine."""

    running: bool = False
    #: component -> what is wrong with it now
    troubles: dict[str, str] = field(default_factory=dict[str, str])


class Fenced(Exception):
    """Another engine writes to this partition's own aggregate: begin it again."""


class Processor:
    """Runs the inbox partitions that the group gives it, until stopped."""

    def __init__(
        self,
        ports: Ports,
        layout: InboxLayout,
        partition_of: Callable[[str], int],
        settings: ProcessorSettings | None = None,
        rng: random.Random | None = None,
    ) -> None:
        self._ports = ports
        self._layout = layout
        self._partition_of = partition_of
        self._settings = settings or ProcessorSettings()
        # Only for waiting times after a conflict, so that two engines do not collide in step.
        self._rng = rng or random.Random()  # noqa: S311 - spreads waits, no secret depends on it
        self.partitions: dict[int, Partition] = {}
        self.health = Health()
        self._stopping = False
        self._loader = Loader(ports.event_log, ports.projections, ports.definitions.get)
        self._timekeeper = Timekeeper(ports, layout.secret, self._settings, self._loader)
        self._projector = Projector(ports, self._settings, self.health)
        self._takeover = Takeover(ports, layout, self._loader, self._timekeeper)

    # Running -------------------------------------------------------------------------------------

    async def run(self) -> None:
        """Work until `stop`; then what was decided is projected and committed, and the group is left."""
        await self._ports.inbox.start(self)
        self.health.running = True
        trouble: Unavailable | None = None
        while not self._stopping:
            try:
                if trouble is not None:
                    await self._begin_again(trouble)
                    trouble = None
                await self._round()
            except Unavailable as away:
                trouble = away
            except Fenced:
                trouble = Unavailable("engine", "another engine works on this partition")
        self.health.running = False
        await self._ports.inbox.close()

    def stop(self) -> None:
        """Finish the batch under way, then leave."""
        self._stopping = True

    async def _round(self) -> None:
        received = await self._ports.inbox.take(self._settings.batch_size, self._wait_seconds())
        if received:
            await self._process(received)
        await self._timekeeper.send_due(self.partitions.values())
        await self._projector.project_if_due(self.partitions.values())
        for component in self.health.troubles.keys() - {"redis"}:
            del self.health.troubles[component]

    def _wait_seconds(self) -> float:
        """Until something is due, bounded so that stopping is quick."""
        if self._stopping:
            return 0.0
        now = self._ports.clock.now()
        wait = self._projector.wait_seconds(self.partitions.values(), now)
        for partition in self.partitions.values():
            due = partition.next_timer()
            if due is not None:
                wait = min(wait, (due - now).total_seconds())
        return max(0.0, wait)

    async def _begin_again(self, trouble: Unavailable) -> None:
        """Wait for the servers, then restart every partition from its committed offsets."""
        log.warning("waiting for a server", component=trouble.component, detail=trouble.detail)
        self.health.troubles[trouble.component] = trouble.detail
        self._ports.telemetry.counted("restarts")
        await self._projector.abandon()
        wait = self._settings.retry_wait_seconds
        while not self._stopping:
            await self._ports.clock.sleep(wait)
            wait = min(wait * 2, self._settings.retry_wait_seconds * 16)
            try:
                await self._ports.inbox.restart(sorted(self.partitions))
            except Unavailable as still:
                self.health.troubles[still.component] = still.detail
                continue
            log.info("going on", component=trouble.component)
            return

    # The inbox tells -----------------------------------------------------------------------------

    async def assigned(self, lanes: Sequence[LaneState]) -> Mapping[TopicPartition, int]:
        """Take partitions over: publish what the last owner may not have, load what is open (PROTOCOL rule 6)."""
        taken = await self._takeover.take_over(lanes)
        for partition in taken.partitions:
            self.partitions[partition.number] = partition
        log.info("partitions assigned", partitions=[p.number for p in taken.partitions])
        return taken.starts

    async def revoked(self, partitions: Sequence[int]) -> None:
        """Project and commit what is decided; the next owner begins there."""
        leaving = [self.partitions[p] for p in partitions if p in self.partitions]
        try:
            await self._projector.project(leaving)
        except Unavailable as away:
            # Nothing is lost: the next owner begins at the older offsets.
            log.warning("leaving without commit", component=away.component, detail=away.detail)
        self._forget(partitions)

    async def lost(self, partitions: Sequence[int]) -> None:
        await self._projector.abandon()
        self._forget(partitions)

    def _forget(self, partitions: Iterable[int]) -> None:
        for number in partitions:
            self.partitions.pop(number, None)
        log.info("partitions given up", partitions=list(partitions))

    # One batch -----------------------------------------------------------------------------------

    async def _process(self, received: Sequence[Received]) -> None:
        """Decide, append and publish everything; nothing of it is committed to the inbox yet."""
        mine = [item for item in received if item.position.partition in self.partitions]
        intake = sort(mine, self._partition_of, self._holds, self._layout.secret)
        await _Batch(self, intake).run()
        for item in mine:
            position = item.position
            decided = self.partitions[position.partition].decided
            decided[position.topic] = max(decided.get(position.topic, 0), position.offset + 1)

    def _holds(self, partition: int, workflow_id: str) -> bool:
        return workflow_id in self.partitions[partition].instances

    @property
    def ports(self) -> Ports:
        return self._ports

    @property
    def loader(self) -> Loader:
        return self._loader

    async def back_off(self) -> None:
        """After a conflict: another engine may be about to step down (PROTOCOL rule 21)."""
        await self._ports.clock.sleep(self._rng.uniform(0.010, 0.200))


Groups = dict[int, dict[str, list[Work]]]


class _Batch:
    """One batch on its way from the inbox to the topics."""

    def __init__(self, processor: Processor, intake: Intake) -> None:
        self._processor = processor
        self._ports = processor.ports
        self._intake = intake
        self._definitions: dict[tuple[str, int | None], WorkflowDefinition | None] = {}
        #: Goes out before anything new.
        self._first: list[Message | Record] = []

    async def run(self) -> None:
        intake = self._intake
        pending = intake.groups
        await self._look_up_definitions(pending)
        self._first.extend(intake.dead_letters)
        self._first.extend(intake.rerouted)
        if intake.dead_letters:
            self._ports.telemetry.counted("dead_letters", len(intake.dead_letters))
        if intake.rerouted:
            self._ports.telemetry.counted("rerouted", len(intake.rerouted))
        while pending:
            pending = await self._insert(pending)
        if self._first:
            await self._ports.publisher.publish(self._first)

    async def _look_up_definitions(self, groups: Groups) -> None:
        for works in (works for group in groups.values() for works in group.values()):
            for work in works:
                intent = work.inbound.intent
                if isinstance(intent, StartIntent):
                    key = (intent.reference, intent.version)
                    if key not in self._definitions:
                        self._definitions[key] = await self._definition(*key)

    async def _definition(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        definitions = self._ports.definitions
        return definitions.cached(reference, version) or await definitions.get(reference, version)

    def _definition_for(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        return self._definitions[reference, version]

    async def _insert(self, groups: Groups) -> Groups:
        """Decide the groups, append and publish what came of it; answers what has to be decided again."""
        drafts, drafters = await self._decide(groups)
        refusals = [drafter.refusals for drafter in drafters.values()]
        # Refusals are in the log before anything that came behind them: a batch of which a part was written
        # must not hide a refused command behind the position of a later one (PROTOCOL rule 8).
        if await self._append(refusals):
            raise Fenced
        lost = await self._append(drafts)
        messages: list[Message | Record] = self._first
        self._first = []
        for draft in (*refusals, *drafts):
            if not _is_among(draft, lost):
                messages.extend(draft.messages)
        messages.extend(await self._repeated([*drafts, *refusals]))
        await self._ports.publisher.publish(messages)
        self._settle(drafts, drafters, lost)
        return await self._left_over(groups, drafts, lost)

    async def _append(self, drafts: Iterable[Draft]) -> list[Draft]:
        """Answers those that another engine forestalled."""
        commits = [(draft, commit) for draft in drafts if (commit := draft.commit) is not None]
        if not commits:
            return []
        written = await self._ports.event_log.append([commit for _, commit in commits])
        return [
            draft for (draft, _), is_written in zip(commits, written, strict=True) if not is_written
        ]

    def _settle(
        self, drafts: Sequence[Draft], drafters: Mapping[int, Drafter], lost: Sequence[Draft]
    ) -> None:
        """What is appended and published is now the state."""
        for number, drafter in drafters.items():
            if drafter.orphans:
                self._ports.telemetry.counted("orphans", drafter.orphans)
            refusals = drafter.refusals
            if refusals.entries:
                kept = self._processor.partitions[number].refusals
                kept.version += refusals.events
                kept.memory = refusals.memory
                self._tell(refusals)
        for draft in drafts:
            if draft.entries and not _is_among(draft, lost):
                self._install(draft)
                self._tell(draft)

    def _install(self, draft: Draft) -> None:
        assert draft.instance is not None
        partition = self._processor.partitions[draft.partition]
        hot = partition.touch(draft.workflow_id)
        if hot is None:
            hot = Hot(draft.instance, draft.memory)
        hot.instance = draft.instance
        hot.memory = draft.memory
        partition.put(hot)
        partition.dirty.add(draft.workflow_id)

    def _tell(self, draft: Draft) -> None:
        for entry in draft.entries:
            self._ports.telemetry.recorded(entry.events)

    async def _left_over(
        self, groups: Groups, drafts: Sequence[Draft], lost: Sequence[Draft]
    ) -> Groups:
        """Messages that did not fit into their commit, and those whose commit another one forestalled."""
        again: Groups = {}
        for draft in drafts:
            if draft.left and not _is_among(draft, lost):
                again.setdefault(draft.partition, {})[draft.workflow_id] = list(draft.left)
        if not lost:
            return again
        self._ports.telemetry.counted("conflicts", len(lost))
        # A start that finds its id taken is no sign of another engine; anything else is.
        if any(draft.first_version > 1 for draft in lost):
            await self._processor.back_off()
        for draft in lost:
            partition = self._processor.partitions[draft.partition]
            works = groups[draft.partition][draft.workflow_id]
            again.setdefault(draft.partition, {})[draft.workflow_id] = works
            await self._reload(partition, draft)
        return again

    async def _reload(self, partition: Partition, draft: Draft) -> None:
        """Read what forestalled the draft, however long a majority takes to show it (PROTOCOL rule 14)."""
        partition.forget(draft.workflow_id)
        while True:
            loaded = (await self._processor.loader.load([draft.workflow_id])).get(draft.workflow_id)
            if loaded is not None and loaded.hot.instance.version >= draft.first_version:
                self._keep(partition, loaded)
                return
            await self._processor.back_off()

    # Deciding ------------------------------------------------------------------------------------

    async def _decide(self, groups: Groups) -> tuple[list[Draft], dict[int, Drafter]]:
        now = self._ports.clock.now()
        drafters: dict[int, Drafter] = {}
        drafts: list[Draft] = []
        unloaded: list[tuple[int, str]] = []
        for number, group in groups.items():
            partition = self._processor.partitions[number]
            drafter = Drafter(number, partition.refusals, self._definition_for, now)
            drafters[number] = drafter
            await self._find_refused(drafter.refusals, group)
            for workflow_id, works in group.items():
                hot = partition.touch(workflow_id)
                if hot is None:
                    # Most starts are of new ids, and the fence tells those that are not: no look-up for them.
                    draft = Draft.of_nothing(workflow_id, number)
                    try:
                        drafter.decide_all(draft, works, assumed_new=True)
                    except Unloaded:
                        unloaded.append((number, workflow_id))
                        continue
                else:
                    draft = Draft.of(hot, number)
                    await self._find_forgotten(draft, works)
                    drafter.decide_all(draft, works)
                drafts.append(draft)
        if unloaded:
            drafts.extend(await self._decide_unloaded(groups, drafters, unloaded))
        return drafts, drafters

    async def _decide_unloaded(
        self,
        groups: Groups,
        drafters: Mapping[int, Drafter],
        unloaded: Sequence[tuple[int, str]],
    ) -> list[Draft]:
        """Load them in one go; those that are not there are made sure of (PROTOCOL rule 14)."""
        ids = [workflow_id for _, workflow_id in unloaded]
        loaded = await self._processor.loader.load(ids)
        missing = [workflow_id for workflow_id in ids if workflow_id not in loaded]
        if missing:
            absent = await self._ports.event_log.confirm_absent(missing)
            if len(absent) < len(missing):
                raise Unavailable("eventStore", "a majority does not show a commit that exists yet")
        drafts: list[Draft] = []
        for number, workflow_id in unloaded:
            partition = self._processor.partitions[number]
            works = groups[number][workflow_id]
            found = loaded.get(workflow_id)
            if found is None:
                draft = Draft.of_nothing(workflow_id, number)
            else:
                self._keep(partition, found)
                draft = Draft.of(found.hot, number)
                await self._find_forgotten(draft, works)
            drafters[number].decide_all(draft, works)
            drafts.append(draft)
        return drafts

    def _keep(self, partition: Partition, loaded: Loaded) -> None:
        """An instance comes into memory; what its projection did not have may never have been published."""
        partition.put_back(loaded.hot)
        self._first.extend(loaded.unpublished)

    async def _find_forgotten(self, draft: Draft, works: Sequence[Work]) -> None:
        """Commands so old that their id may have left the window are looked up in the log (PROTOCOL rule 9)."""
        for work in works:
            if work.is_command and draft.memory.may_have_forgotten(work.at_ms):
                message_id = work.message.message_id
                if await self._ports.event_log.find_message(draft.workflow_id, message_id):
                    draft.known_from_log.add(message_id)

    async def _find_refused(self, refusals: Draft, group: Mapping[str, Sequence[Work]]) -> None:
        """After a restart commands come again; of more refused ones than the window holds only the log tells."""
        memory = refusals.memory
        if not memory.is_full:
            return
        for work in (work for works in group.values() for work in works):
            message_id = work.message.message_id
            if (
                work.is_command
                and memory.has_applied(work.position)
                and message_id not in memory.command_ids
                and await self._ports.event_log.find_message(refusals.workflow_id, message_id)
            ):
                refusals.known_from_log.add(message_id)

    # Repeating -----------------------------------------------------------------------------------

    async def _repeated(self, drafts: Iterable[Draft]) -> list[Message]:
        """The recorded outcome of commands that came again, once more with the same ids."""
        messages: list[Message] = []
        for draft in drafts:
            # In the commit just made, the start's outcome goes out anyway.
            if draft.repeats_start and draft.first_version > 1:
                first = await self._ports.event_log.history(draft.workflow_id, 0, 1)
                messages.extend(entry_outputs(first[0].entries[0]))
            for message_id in draft.repeats:
                entry = await self._find(draft, message_id)
                if entry is not None:
                    messages.extend(entry_outputs(entry))
        return messages

    async def _find(self, draft: Draft, message_id: str) -> Entry | None:
        for entry in draft.entries:
            if entry.message_id == message_id:
                # The copy came in the same batch; its outcome goes out with the commit.
                return None
        return await self._ports.event_log.find_message(draft.workflow_id, message_id)


def _is_among(draft: Draft, others: Sequence[Draft]) -> bool:
    return any(draft is other for other in others)

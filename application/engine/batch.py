"""One batch: decide, append, publish. If another engine appended first, the batch reads that and decides again."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Hashable, Iterable, Mapping, Sequence

import structlog
from conveyor import topics
from conveyor.messages import Message, Record

from application.aggregates.aggregate import Catalog, Resolved, Unresolved
from application.codec.internal import Sign
from application.definitions import InvalidDefinition
from application.engine.claims import Claims, Fenced
from application.engine.drafts import Draft, Drafter, Unloaded
from application.engine.environment import Ports
from application.engine.hot import Hot
from application.engine.intake import Intake
from application.engine.loader import Loaded, Loader
from application.engine.partition import Partition
from application.engine.publication import Publication
from application.engine.work import Work
from application.outputs import entry_outputs, outputs
from application.ports import Entry, Unavailable
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import WorkflowDefinition

log = structlog.get_logger("WorkflowEngine")

#: Attempts to read a commit that another engine appended first, about five seconds in all.
_RELOADS_MAX = 50


Groups = dict[int, dict[str, list[Work]]]


class Batch:
    """Takes one batch of messages from the inbox to the topics."""

    def __init__(
        self,
        ports: Ports,
        partitions: Mapping[int, Partition],
        loader: Loader,
        publication: Publication,
        claims: Claims,
        back_off: Callable[[], Awaitable[None]],
        catalog: Catalog,
        sign: Sign,
        intake: Intake,
        share: int,
    ) -> None:
        self._ports = ports
        self._partitions = partitions
        self._loader = loader
        self._publication = publication
        self._claims = claims
        #: Waits after a conflict.
        self._back_off = back_off
        self._catalog = catalog
        self._sign = sign
        self._intake = intake
        #: Messages of one aggregate per insert, so that other aggregates are not delayed (PROTOCOL A9).
        self._share = share
        self._definitions: dict[tuple[str, int | None], WorkflowDefinition | None] = {}
        #: Published before anything new.
        self._first: list[Message | Record] = []

    async def run(self) -> None:
        intake = self._intake
        pending = intake.groups
        await self._claim_for(await self._resolve(pending))
        self._first.extend(intake.dead_letters)
        self._first.extend(intake.rerouted)
        if intake.dead_letters:
            self._ports.telemetry.counted("dead_letters", len(intake.dead_letters))
        if intake.rerouted:
            self._ports.telemetry.counted("rerouted", len(intake.rerouted))
        while pending:
            pending = await self._insert(pending)
        if self._first:
            await self._publication.begin(self._first, lambda: None)

    async def _resolve(self, groups: Groups) -> dict[int, set[Hashable]]:
        """Look up what the messages refer to. Returns what was found, per partition."""
        found: dict[int, set[Hashable]] = {}
        for number, group in groups.items():
            bases = found[number] = set[Hashable]()
            for work in (work for works in group.values() for work in works):
                if isinstance(work.command, Unresolved):
                    work.command, basis = await self._resolved(work, work.command)
                    if basis is not None:
                        bases.add(basis)
        return found

    async def _resolved(self, work: Work, intent: Unresolved) -> Resolved:
        try:
            return await intent.resolve(self._look_up)
        except Unavailable:
            raise
        # As in deciding, a bug must cost only this message (PROTOCOL rule 15).
        except Exception as bug:
            log.exception("resolving failed", workflow_id=work.aggregate_id, type=work.message.type)
            return Resolved(Rejection(RejectionCode.INTERNAL, f"{type(bug).__name__}: {bug}"))

    async def _claim_for(self, found: Mapping[int, set[Hashable]]) -> None:
        """Claim a partition again if a basis is new: then the next owner finds it too, and decides the same."""
        new = [
            self._partitions[number]
            for number, bases in found.items()
            if not bases <= self._partitions[number].bases
        ]
        if new:
            await self._claims.renew(new)
        for partition in new:
            partition.bases |= found[partition.number]

    async def _look_up(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        """The definition, looked up once for the whole batch."""
        key = (reference, version)
        if key not in self._definitions:
            self._definitions[key] = await self._definition(reference, version)
        return self._definitions[key]

    async def _definition(self, reference: str, version: int | None) -> WorkflowDefinition | None:
        definitions = self._ports.definitions
        try:
            known = definitions.cached(reference, version)
            return known or await definitions.get(reference, version)
        except InvalidDefinition as fault:
            # A newer service registered it; to this one it is unknown.
            log.warning("a definition cannot be read", reference=reference, detail=str(fault))
            return None

    async def _insert(self, groups: Groups) -> Groups:
        """Decide the groups, append and publish the outcome. Returns the messages that must be decided again."""
        drafts, drafters = await self._decide(groups)
        refusals = [drafter.inbox for drafter in drafters.values()]
        # Refusals are appended before anything that came after them. If only a part of the batch is written, the
        # position of a later command must not hide a refused one (PROTOCOL rule 8).
        if await self._append(refusals):
            raise Fenced
        lost = await self._append(drafts)
        messages: list[Message | Record] = self._first
        self._first = []
        for draft in (*refusals, *drafts):
            if not _is_among(draft, lost):
                messages.extend(draft.messages)
        messages.extend(await self._repeated([*drafts, *refusals]))
        written = [d for d in (*refusals, *drafts) if d.entries and not _is_among(d, lost)]
        await self._publication.begin(messages, lambda: self._tell(written))
        self._settle(drafts, drafters, lost)
        return await self._left_over(groups, drafts, lost)

    async def _append(self, drafts: Iterable[Draft]) -> list[Draft]:
        """Append the drafts. Returns those whose version another engine had already appended."""
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
        """Make the appended state the current one."""
        for drafter in drafters.values():
            if drafter.orphans:
                self._ports.telemetry.counted("orphans", drafter.orphans)
            if drafter.inbox.entries:
                self._install(drafter.inbox)
        for draft in drafts:
            if draft.entries and not _is_among(draft, lost):
                self._install(draft)

    def _install(self, draft: Draft) -> None:
        partition = self._partitions[draft.partition]
        hot = partition.touch(draft.aggregate_id)
        if hot is None:
            hot = Hot(draft.aggregate, draft.state, draft.memory)
        hot.state = draft.state
        hot.memory = draft.memory
        partition.put(hot)
        partition.changed(draft.aggregate_id)

    def _tell(self, drafts: Iterable[Draft]) -> None:
        for draft in drafts:
            assert draft.state is not None
            for entry in draft.entries:
                self._ports.telemetry.recorded(entry.events, draft.state)

    async def _left_over(
        self, groups: Groups, drafts: Sequence[Draft], lost: Sequence[Draft]
    ) -> Groups:
        """Messages that did not fit into their commit, and those whose commit another engine preceded."""
        again: Groups = {}
        for draft in drafts:
            if draft.left and not _is_among(draft, lost):
                again.setdefault(draft.partition, {})[draft.aggregate_id] = list(draft.left)
        if not lost:
            return again
        self._ports.telemetry.counted("conflicts", len(lost))
        # A conflict is a sign of another engine, unless it is a start whose id is taken.
        if any(draft.first_version > 1 for draft in lost):
            await self._back_off()
        for draft in lost:
            partition = self._partitions[draft.partition]
            works = groups[draft.partition][draft.aggregate_id]
            again.setdefault(draft.partition, {})[draft.aggregate_id] = works
            await self._reload(partition, draft)
        return again

    async def _reload(self, partition: Partition, draft: Draft) -> None:
        """Read the commit that preceded the draft, as soon as a majority has it (PROTOCOL rule 14).

        After a fail-over that may never happen: what only the old primary had is lost. Then every partition restarts.
        """
        partition.forget(draft.aggregate_id)
        await self._publication.finish()
        for _ in range(_RELOADS_MAX):
            wanted = {draft.aggregate_id: draft.partition}
            loaded = (await self._loader.load(wanted)).get(draft.aggregate_id)
            if loaded is not None and loaded.hot.version >= draft.first_version:
                self._keep(partition, loaded)
                return
            await self._back_off()
        raise Unavailable(
            "eventStore", f"a majority never showed {draft.aggregate_id}'s other commit"
        )

    # Deciding ------------------------------------------------------------------------------------

    async def _decide(self, groups: Groups) -> tuple[list[Draft], dict[int, Drafter]]:
        now = self._ports.clock.now()
        drafters: dict[int, Drafter] = {}
        drafts: list[Draft] = []
        unloaded: list[tuple[int, str]] = []
        for number, group in groups.items():
            partition = self._partitions[number]
            drafter = Drafter(partition, now, self._share, self._sign)
            drafters[number] = drafter
            # The workflow may have started since the command was refused; a copy must still be refused.
            await self._find_forgotten(
                drafter.inbox, [work for works in group.values() for work in works]
            )
            for aggregate_id, works in group.items():
                hot = partition.touch(aggregate_id)
                if hot is None:
                    # Most starts have new ids, and the fence detects the others, so no start is looked up.
                    draft = Draft.of_nothing(self._catalog.of(aggregate_id), aggregate_id, number)
                    try:
                        drafter.decide_all(draft, works, assumed_new=True)
                    except Unloaded:
                        unloaded.append((number, aggregate_id))
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
        """Load the aggregates in one go, and confirm the absence of those that were not found (PROTOCOL rule 14)."""
        await self._publication.finish()
        wanted = {aggregate_id: partition for partition, aggregate_id in unloaded}
        loaded = await self._loader.load(wanted)
        missing = [aggregate_id for aggregate_id in wanted if aggregate_id not in loaded]
        if missing:
            absent = await self._ports.event_log.confirm_absent(missing)
            if len(absent) < len(missing):
                raise Unavailable("eventStore", "a majority does not show a commit that exists yet")
        drafts: list[Draft] = []
        for number, aggregate_id in unloaded:
            partition = self._partitions[number]
            works = groups[number][aggregate_id]
            found = loaded.get(aggregate_id)
            if found is None:
                draft = Draft.of_nothing(self._catalog.of(aggregate_id), aggregate_id, number)
            else:
                self._keep(partition, found)
                draft = Draft.of(found.hot, number)
                await self._find_forgotten(draft, works)
            drafters[number].decide_all(draft, works)
            drafts.append(draft)
        return drafts

    def _keep(self, partition: Partition, loaded: Loaded) -> None:
        """Keep a loaded instance, and publish what its projection lacked: it may never have been published."""
        partition.put_back(loaded.hot)
        self._first.extend(
            message for commit in loaded.tail for message in outputs(commit, self._sign)
        )

    async def _find_forgotten(self, draft: Draft, works: Sequence[Work]) -> None:
        """Look up in the log the commands whose id may have left the window (PROTOCOL rule 9).

        Their times do not show which these are, since they come from the clocks of many producers.
        """
        memory = draft.memory
        if memory.may_forget(len(works)):
            # An id that is in the window now may have left it before its copy is decided.
            draft.answered.update(memory.command_ids)
        if not memory.is_full:
            return
        ids = {work.message.message_id for work in works if work.is_command} - draft.answered
        if ids:
            draft.answered.update(
                await self._ports.event_log.find_messages(draft.aggregate_id, ids)
            )

    # Repeating -----------------------------------------------------------------------------------

    async def _repeated(self, drafts: Iterable[Draft]) -> list[Message]:
        """The recorded outcome of repeated commands, with the same ids.

        Events only: the requests were sent the first time, and sending them again would only cause repeated answers.
        """
        messages: list[Message] = []
        for draft in drafts:
            if draft.repeats_start or draft.repeats:
                await self._publication.finish()
            # The start's outcome is published anyway if it is in the commit just made.
            if draft.repeats_start and draft.first_version > 1:
                first = await self._ports.event_log.history(draft.aggregate_id, 0, 1)
                messages.extend(self._outcome(first[0].entries[0]))
            for message_id in draft.repeats:
                entry = await self._find(draft, message_id)
                if entry is not None:
                    messages.extend(self._outcome(entry))
        return messages

    async def _find(self, draft: Draft, message_id: str) -> Entry | None:
        for entry in draft.entries:
            if entry.message_id == message_id:
                # The copy came in the same batch; the outcome is published with the commit.
                return None
        found = await self._ports.event_log.find_messages(draft.aggregate_id, [message_id])
        return found.get(message_id)

    def _outcome(self, entry: Entry) -> list[Message]:
        messages = entry_outputs(entry, self._sign)
        return [message for message in messages if message.topic == topics.EVENTS]


def _is_among(draft: Draft, others: Sequence[Draft]) -> bool:
    return any(draft is other for other in others)

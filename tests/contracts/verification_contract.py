"""What `conveyor verify` finds on the stores of every run mode. An adapter's tests subclass `VerificationContract`.

Each test writes a store that is damaged in one way and names all that must be found.
"""

from __future__ import annotations

from abc import abstractmethod
from collections.abc import AsyncIterator, Sequence
from copy import deepcopy
from datetime import timedelta
from typing import Any

import pytest
from conveyor import topics
from conveyor.messages import Message, Record
from conveyor.values import replace

from application.ports import (
    Commit,
    Document,
    Entry,
    StoredCommit,
)
from application.verification.findings import Kind, Report
from domain.values import changed
from infrastructure.clock import SystemClock
from tests.contracts.histories import (
    StoreContent,
    content,
    content_of,
    projection,
    publications,
)
from tests.contracts.samples import commit, recorded, workflow
from tests.contracts.verification_site import VerificationSite
from tests.contracts.verified_memory_contract import VerifiedMemoryContract
from tests.domain.goldens import ORDER, SAGAS
from tests.domain.sagas import Saga


class Meanwhile(SystemClock):
    """While somebody waits, an engine projects a document."""

    def __init__(self, site: VerificationSite, document: Document) -> None:
        self._site = site
        self._document = document

    async def sleep(self, seconds: float) -> None:
        await self._site.write([], [self._document], [])


@pytest.mark.contract
class VerificationContract(VerifiedMemoryContract):
    """Subclass it as `Test...` and define the fixture `site`: empty, closed afterwards."""

    @pytest.fixture
    @abstractmethod
    def site(self) -> VerificationSite: ...

    # -- what is read ----------------------------------------------------------------------------

    async def test_projections_come_by_id(self, site: VerificationSite) -> None:
        """Pages hold the lowest ids from a given one on, inboxes among them."""
        ids = ["b", "B", "inbox:1", "inbox:0", "a:1", "a", "wf-1", "0"]
        await site.write([], [workflow(each) for each in ids], [])

        pages = [
            [document["_id"] for document in await site.scan.projections(first, 3)]
            for first in ("", "a:", "inbox:1", "zz")
        ]

        assert pages == [["0", "B", "a"], ["a:1", "b", "inbox:0"], ["inbox:1", "wf-1"], []]

    async def test_projections_are_whole(self, site: VerificationSite) -> None:
        """A document is what was saved."""
        document = workflow("wf-1", 3, labels={"carrier.x": "DHL"}, inputParameters={"$ref": 1})
        await site.write([], [document], [])

        assert await site.scan.projections("", 10) == [document]

    async def test_commits_come_by_id_and_version(self, site: VerificationSite) -> None:
        """A range has all commits of the ids between its ends, both included."""
        first = [commit("b", 1), commit("a", 1, events=3), commit("a:1", 1), commit("c", 1)]
        second = [commit("a", 4), commit("b", 2)]
        await site.write([*first, *second], [], [])

        every = [stored.id for stored in await listed(site.scan.commits("", None))]
        some = [stored.id for stored in await listed(site.scan.commits("a:", "b"))]

        assert every == ["a:000001", "a:000004", "a:1:000001", "b:000001", "b:000002", "c:000001"]
        assert some == ["a:1:000001", "b:000001", "b:000002"]

    async def test_commits_are_whole(self, site: VerificationSite) -> None:
        """A commit is what was appended, beside its key and its last version."""
        [one] = content().commits_of("wf-compensated")[:1]
        await site.write([one], [], [])

        assert await listed(site.scan.commits("", None)) == [StoredCommit(one.id, 4, one)]

    async def test_events_are_read_to_the_end_of_their_ranges(self, site: VerificationSite) -> None:
        """Records come with their places and times; what is written later does not."""
        messages = content().messages
        await site.write([], [], messages[:5])
        ranges = await site.published.ranges()
        await site.write([], [], messages[5:])

        read = [published async for published in site.published.read(ranges)]

        assert [message_id(published.message) for published in read] == ids_of(messages[:5])
        assert [published.offset for published in read] == [0, 1, 2, 3, 4]
        assert {published.partition for published in read} <= {each.partition for each in ranges}
        assert abs(read[0].timestamp - SystemClock().now()) < timedelta(minutes=5)

    # -- nothing wrong ---------------------------------------------------------------------------

    async def test_an_empty_store_is_clean(self, site: VerificationSite) -> None:
        """Nothing is right."""
        assert await site.verify() == Report()

    async def test_a_store_as_engines_leave_it_is_clean(self, site: VerificationSite) -> None:
        """Everything is looked at and nothing found; so it is when publications were repeated."""
        stored = content()
        stored.messages += stored.messages[3:9]

        found = await site.found(stored)
        report = await site.verify()

        assert found == []
        assert report == Report(
            instances=4,
            commits=len(stored.commits),
            events=len(publications(stored.commits)),
            projections=4,
            published=len(stored.messages),
        )

    async def test_a_store_at_work_is_clean(self, site: VerificationSite) -> None:
        """What is new may be unpublished and not projected, and old projections be behind."""
        new = content(ago=timedelta())
        projected = [new.document_of("wf-running")]
        await site.write(new.commits, projected, publications(new.commits)[:3])

        report = await site.verify()

        assert report.is_clean
        assert report.findings == []
        assert report.behind == 3
        assert report.unpublished_yet == len(publications(new.commits)) - 3

    async def test_events_beyond_retention_are_not_checkable(self, site: VerificationSite) -> None:
        """What retention deleted is counted, not found."""
        stored = content()
        await site.write_all(stored)
        await site.drop_events(7)

        report = await site.verify()

        assert report.findings == []
        assert report.not_checkable == 7
        assert report.published == len(stored.messages) - 7

    # -- damage to the log -----------------------------------------------------------------------

    async def test_gap(self, site: VerificationSite) -> None:
        """A commit in the middle is missing: its events were published all the same."""
        stored = content()
        stored.commits.remove(stored.commits_of("wf-completed")[1])

        found = await site.found(stored)

        assert found == [("wf-completed", Kind.GAP), ("wf-completed", Kind.UNLOGGED)]

    async def test_overlap(self, site: VerificationSite) -> None:
        """A second writer's commit got in beside another of the same versions."""
        stored = content()
        first = stored.commits_of("wf-running")[0]
        stored.commits.append(Commit("wf-running", 3, 0, first.entries[1:]))

        found = await site.found(stored)

        assert ("wf-running", Kind.OVERLAP) in found
        assert {workflow_id for workflow_id, _ in found} == {"wf-running"}

    async def test_an_event_in_the_wrong_place(self, site: VerificationSite) -> None:
        """An event says of itself what its place in the log does not."""
        stored = content()
        change(stored, "wf-running", 3, version=4, aggregateId="wf-other")

        found = await site.found(stored)

        assert ("wf-running", Kind.EVENT) in found
        assert ("wf-running", Kind.PUBLISHED) in found

    @pytest.mark.parametrize(
        "fields",
        [
            {"occurredAt": "yesterday"},
            {"occurredAt": 7},
            {"request": "none"},
            {"stepId": "fly"},
            {"eventId": 5},
        ],
        ids=lambda fields: next(iter(fields)),
    )
    async def test_unreadable(self, site: VerificationSite, fields: dict[str, Any]) -> None:
        """An event that cannot be folded is found with what is wrong with it, and ends no check."""
        stored = content()
        change(stored, "wf-running", 2, **fields)

        found = await site.found(stored)

        assert {workflow_id for workflow_id, _ in found} == {"wf-running"}
        assert {Kind.UNREADABLE, Kind.EVENT} & {kind for _, kind in found}

    async def test_an_unknown_type_is_unreadable(self, site: VerificationSite) -> None:
        """A newer version of the service wrote the event."""
        stored = content()
        change(stored, "wf-running", 3, type="orchestration.workflow.teleported")

        assert ("wf-running", Kind.UNREADABLE) in await site.found(stored)

    async def test_a_definition_that_is_gone_is_unreadable(self, site: VerificationSite) -> None:
        """A workflow of a definition that is not registered is named."""
        stored = content()
        change(stored, "wf-running", 1, definitionVersion=77)

        assert ("wf-running", Kind.UNREADABLE) in await site.found(stored)

    # -- what the rules allow --------------------------------------------------------------------

    async def test_ends_that_are_none_are_told(self, site: VerificationSite) -> None:
        """Unresolved steps and undos that are not done are told of ended workflows, and no damage."""
        stored = content_of(
            {
                "wf-asks": Saga(ORDER)
                .starts({"gift": True})
                .succeeds("reserve")
                .cancels(compensate=False)
                .history,
                "wf-stuck": SAGAS["forced"]()[:13],
            }
        )

        found = await site.found(stored)

        assert found == [("wf-asks", Kind.UNRESOLVED), ("wf-stuck", Kind.UNDOING)]
        assert (await site.verify()).is_clean

    # -- damage to projections -------------------------------------------------------------------

    async def test_orphan(self, site: VerificationSite) -> None:
        """A projection whose log is gone; its events say the same."""
        stored = content()
        stored.commits = [c for c in stored.commits if c.aggregate_id != "wf-compensated"]

        found = await site.found(stored)

        assert found == [("wf-compensated", Kind.ORPHAN), ("wf-compensated", Kind.UNLOGGED)]

    async def test_missing(self, site: VerificationSite) -> None:
        """A log without a projection, and not for want of time."""
        stored = content()
        stored.documents.remove(stored.document_of("wf-completed"))

        assert await site.found(stored) == [("wf-completed", Kind.MISSING)]

    async def test_ahead(self, site: VerificationSite) -> None:
        """The log lost its newest commit, which was projected and published."""
        stored = content()
        stored.commits.remove(stored.commits_of("wf-completed")[-1])

        found = await site.found(stored)

        assert found == [("wf-completed", Kind.AHEAD), ("wf-completed", Kind.UNLOGGED)]

    @pytest.mark.parametrize(
        ("workflow_id", "fields"),
        [
            ("wf-running", {"status": "PAUSED"}),
            ("wf-running", {"progress": 99}),
            ("wf-running", {"nextTimerAt": None}),
            ("wf-running", {"partition": 3}),
            ("wf-running", {"inputParameters": {}}),
            ("wf-running", {"version": 5}),
            ("wf-running", {"engine": {}}),
            ("inbox:0", {"engine": {"applied": []}}),
        ],
        ids=lambda value: next(iter(value)) if isinstance(value, dict) else None,
    )
    async def test_projection(
        self, site: VerificationSite, workflow_id: str, fields: dict[str, Any]
    ) -> None:
        """A projection that is not what the log adds up to, in whatever field."""
        stored = content()
        stored.document_of(workflow_id).update(fields)

        assert await site.found(stored) == [(workflow_id, Kind.PROJECTION)]

    async def test_a_claim_need_not_be_projected(self, site: VerificationSite) -> None:
        """An engine that died right after a takeover left nothing to be missed."""
        stored = content()
        claim = stored.commits_of("inbox:0")[0]

        await site.write([claim], [], [])
        report = await site.verify(timedelta(milliseconds=300))

        assert (report.findings, report.behind, report.commits, report.events) == ([], 0, 1, 0)

    async def test_a_claim_is_checked(self, site: VerificationSite) -> None:
        """Its id is that of its place, like every event's."""
        stored = content()
        change(stored, "inbox:0", 1, eventId="inbox:0:7")

        assert await site.found(stored) == [("inbox:0", Kind.EVENT)]

    async def test_a_projection_behind_is_right_at_its_version(
        self, site: VerificationSite
    ) -> None:
        """Behind is allowed, wrong is not; waiting for it in vain is a finding."""
        stored = content()
        behind = projection(stored.commits_of("wf-completed")[:2])
        stored.documents.remove(stored.document_of("wf-completed"))
        await site.write(stored.commits, [*stored.documents, behind], stored.messages)

        at_once = await site.verify()
        settled = await site.verify(timedelta(milliseconds=300))

        assert (at_once.findings, at_once.behind) == ([], 1)
        assert [(f.workflow_id, f.kind) for f in settled.findings] == [
            ("wf-completed", Kind.BEHIND)
        ]

    @pytest.mark.parametrize(("progress", "found"), [(100, []), (7, [Kind.PROJECTION])])
    async def test_a_projection_that_catches_up(
        self, site: VerificationSite, progress: int, found: list[Kind]
    ) -> None:
        """What was missing and comes while somebody waits is looked at like all others."""
        stored = content()
        late = stored.document_of("wf-completed")
        stored.documents.remove(late)
        await site.write_all(stored)

        clock = Meanwhile(site, {**late, "progress": progress})
        report = await site.verify(timedelta(seconds=30), clock)

        assert [finding.kind for finding in report.findings] == found
        assert report.behind == 0

    async def test_a_projection_behind_and_wrong(self, site: VerificationSite) -> None:
        """Being behind excuses nothing."""
        stored = content()
        older = deepcopy(stored)
        behind = projection(older.commits_of("wf-completed")[:2])
        behind["status"] = "FAILED"
        stored.documents[stored.documents.index(stored.document_of("wf-completed"))] = behind

        assert await site.found(stored) == [("wf-completed", Kind.PROJECTION)]

    # -- damage to publications ------------------------------------------------------------------

    async def test_unpublished(self, site: VerificationSite) -> None:
        """An event of the log is not on the topic."""
        stored = content()
        del stored.messages[stored.place_of("wf-completed:3")]
        del stored.messages[stored.place_of("inbox:0:2")]

        assert await site.found(stored) == [
            ("inbox:0", Kind.UNPUBLISHED),
            ("wf-completed", Kind.UNPUBLISHED),
        ]

    async def test_order(self, site: VerificationSite) -> None:
        """An event came for the first time after one that follows it."""
        stored = content()
        place = stored.place_of("wf-completed:3")
        stored.messages.insert(place + 1, stored.messages.pop(place))

        assert await site.found(stored) == [("wf-completed", Kind.ORDER)]

    @pytest.mark.parametrize(
        "changes",
        [
            {"data": b"{}"},
            {"type": "orchestration.workflow.resumed"},
            {"extensions": {"causationid": "another"}},
        ],
        ids=lambda changes: next(iter(changes)),
    )
    async def test_published(self, site: VerificationSite, changes: dict[str, Any]) -> None:
        """What was published is not what the log has."""
        stored = content()
        place = stored.place_of("wf-completed:3")
        message = stored.messages[place]
        assert isinstance(message, Message)
        stored.messages[place] = replace(message, **changes)

        assert await site.found(stored) == [("wf-completed", Kind.PUBLISHED)]

    async def test_unlogged(self, site: VerificationSite) -> None:
        """Somebody published events that no workflow had."""
        stored = content()
        invented = deepcopy(stored)
        for workflow_id in ("wf-invented:1", "wf-completed:999"):
            message = invented.messages[0]
            assert isinstance(message, Message)
            stored.messages.append(replace(message, id=workflow_id))

        found = await site.found(stored)

        assert sorted(found) == [("wf-completed", Kind.UNLOGGED), ("wf-invented", Kind.UNLOGGED)]

    async def test_foreign(self, site: VerificationSite) -> None:
        """Records that are no events of workflows are told with their places."""
        stored = content()
        message = stored.messages[0]
        assert isinstance(message, Message)
        stored.messages += [
            Record(topic=topics.EVENTS, key=b"wf-1", value=b"?"),
            replace(message, id="no-version"),
            replace(message, id="wf-1:0"),
            replace(message, id="wf-1:99999999999999"),
        ]

        found = await site.found(stored)

        assert found == [(None, Kind.FOREIGN)] * 4


def change(stored: StoreContent, workflow_id: str, place: int, /, **fields: Any) -> None:
    """Change one event in the log; `type` is the event's type, the others are fields of its data."""
    stored.commits = [
        changed_commit(one, place, fields)
        if one.aggregate_id == workflow_id and one.first_version <= place <= one.last_version
        else one
        for one in stored.commits
    ]


def changed_commit(one: Commit, version: int, fields: dict[str, Any]) -> Commit:
    data = {name: value for name, value in fields.items() if name != "type"}
    entries: list[Entry] = []
    at = one.first_version
    for entry in one.entries:
        events = [
            recorded(fields.get("type", event.type), {**event.data, **data})
            if at + place == version
            else event
            for place, event in enumerate(entry.events)
        ]
        entries.append(changed(entry, events=tuple(events)))
        at += len(events)
    return changed(one, entries=tuple(entries))


async def listed(commits: AsyncIterator[StoredCommit]) -> list[StoredCommit]:
    return [stored async for stored in commits]


def ids_of(messages: Sequence[Message | Record]) -> list[str | None]:
    return [message_id(message) for message in messages]


def message_id(message: object) -> str | None:
    return message.id if isinstance(message, Message) else None

"""What every `Projections` promises. An adapter's tests subclass `ProjectionsContract`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from datetime import UTC, datetime, timedelta, timezone

import pytest

from application.ports import InboxLayout, InboxStart, Mark, Projections
from tests.contracts.samples import AWKWARD_JSON, COMMANDS, REPLIES, workflow

NOW = datetime(2026, 11, 21, 2, 30, tzinfo=UTC)


@pytest.mark.contract
class ProjectionsContract(ABC):
    """Subclass it as `Test...` and define the fixture `projections`: empty, closed afterwards."""

    @pytest.fixture
    @abstractmethod
    def projections(self) -> Projections: ...

    async def test_a_document_loads_back_equal(self, projections: Projections) -> None:
        """A document comes back as it was saved, whatever JSON it holds."""
        labels = {"carrier": "DHL", "app.kubernetes.io/name": "shop"}
        document = workflow("wf-1", 3, labels=labels, inputParameters=AWKWARD_JSON)

        await projections.save([document])

        assert await projections.load(["wf-1"]) == {"wf-1": document}

    async def test_load_answers_what_exists(self, projections: Projections) -> None:
        """Ids without a document are left out; an empty question has an empty answer."""
        await projections.save([workflow("wf-1"), workflow("wf-2")])

        assert sorted(await projections.load(["wf-2", "wf-3", "wf-1"])) == ["wf-1", "wf-2"]
        assert not await projections.load([])

    async def test_save_replaces_lower_versions_only(self, projections: Projections) -> None:
        """A newer document stays whatever is saved later; an older one is replaced as a whole."""
        await projections.save([workflow("wf-1", 5, cancelReason="spill"), workflow("wf-2", 5)])

        await projections.save([workflow("wf-1", 6), workflow("wf-2", 4, status="PAUSED")])

        loaded = await projections.load(["wf-1", "wf-2"])
        assert loaded == {"wf-1": workflow("wf-1", 6), "wf-2": workflow("wf-2", 5)}

    async def test_save_of_the_same_version_changes_nothing(self, projections: Projections) -> None:
        """The same version again, as after a crash, is fine."""
        await projections.save([workflow("wf-1", 5)])
        await projections.save([workflow("wf-1", 5)])

        assert await projections.load(["wf-1"]) == {"wf-1": workflow("wf-1", 5)}

    async def test_one_stale_document_does_not_disturb_the_others(
        self, projections: Projections
    ) -> None:
        """New, newer and stale documents may stand in one save."""
        await projections.save([workflow("wf-1", 2), workflow("wf-2", 9)])

        await projections.save([workflow(f"wf-{number}", 3) for number in range(4)])

        loaded = await projections.load([f"wf-{number}" for number in range(4)])
        versions = {key: document["version"] for key, document in loaded.items()}
        assert versions == {"wf-0": 3, "wf-1": 3, "wf-2": 9, "wf-3": 3}

    async def test_concurrent_saves_leave_the_newest(self, projections: Projections) -> None:
        """Whoever is first, the highest version is what stays (PROTOCOL rule 12)."""
        await asyncio.gather(
            *(projections.save([workflow("wf-1", version)]) for version in (3, 8, 1, 6, 7, 2))
        )

        assert (await projections.load(["wf-1"]))["wf-1"]["version"] == 8

    async def test_states_of_coordinators_are_documents_too(self, projections: Projections) -> None:
        """They have few fields; they follow the same rule of versions."""
        states = [
            {"_id": name, "version": 2, "partition": 0, "nextTimerAt": None, "refused": ["a"]}
            for name in ("inbox:0", "inbox:1")
        ]
        await projections.save(states)
        await projections.save([{**state, "version": 1, "refused": []} for state in states])

        names = [state["_id"] for state in states]
        assert await projections.load(names) == {state["_id"]: state for state in states}

    async def test_due_finds_timers_of_the_partition(self, projections: Projections) -> None:
        """Soonest first, the moment itself included; no later ones, no other partition's, no nulls."""
        await projections.save(
            [
                workflow("late", nextTimerAt="2026-11-21T02:30:00.001Z"),
                workflow("now", nextTimerAt="2026-11-21T02:30:00.000Z"),
                workflow("long-ago", nextTimerAt="2026-11-20T23:59:59.999Z"),
                workflow("elsewhere", partition=1, nextTimerAt="2026-11-21T02:00:00.000Z"),
                workflow("none"),
            ]
        )

        assert list(await projections.due(0, NOW, 10)) == ["long-ago", "now"]
        assert list(await projections.due(0, NOW, 1)) == ["long-ago"]
        assert list(await projections.due(1, NOW, 10)) == ["elsewhere"]

    async def test_due_takes_a_moment_of_any_zone(self, projections: Projections) -> None:
        """The moment counts, not how it is written."""
        await projections.save([workflow("wf-1", nextTimerAt="2026-11-21T02:30:00.000Z")])

        in_tokyo = NOW.astimezone(timezone(timedelta(hours=9)))

        assert list(await projections.due(0, in_tokyo, 10)) == ["wf-1"]
        assert not await projections.due(0, in_tokyo - timedelta(milliseconds=1), 10)

    async def test_a_moved_timer_is_due_at_its_new_time(self, projections: Projections) -> None:
        """Only the newest document's timer counts."""
        await projections.save([workflow("wf-1", 1, nextTimerAt="2026-11-21T02:00:00.000Z")])
        await projections.save([workflow("wf-1", 2, nextTimerAt="2026-11-21T03:00:00.000Z")])

        assert not await projections.due(0, NOW, 10)
        assert len(await projections.due(0, NOW + timedelta(hours=1), 10)) == 1

    async def test_starts_are_kept_per_topic_and_partition(self, projections: Projections) -> None:
        """Each inbox partition has its own start; there is none before one is saved."""
        assert not await projections.starts()

        starts = [
            InboxStart(topic, partition, f"id-of-{topic}", 10 + partition)
            for topic in (COMMANDS, REPLIES)
            for partition in (0, 1)
        ]
        await projections.save_starts(starts)

        assert set(await projections.starts()) == set(starts)

    async def test_a_start_moves_forward_only(self, projections: Projections) -> None:
        """With the same topic id the highest offset stays, and others in the same call still move."""
        await projections.save_starts([start(7), start(7, topic=REPLIES)])

        await projections.save_starts([start(6), start(8, topic=REPLIES)])
        await projections.save_starts([start(7), start(8, topic=REPLIES)])

        assert set(await projections.starts()) == {start(7), start(8, topic=REPLIES)}

    async def test_a_recreated_topic_starts_anew(self, projections: Projections) -> None:
        """Another topic id means other offsets: the start is replaced, even by a lower one."""
        await projections.save_starts([start(7)])

        await projections.save_starts([start(0, topic_id="another")])

        assert list(await projections.starts()) == [start(0, topic_id="another")]

    async def test_marks_are_kept_per_partition(self, projections: Projections) -> None:
        """The newest one counts, whether it is later, earlier or none."""
        assert not await projections.marks()
        earlier = NOW - timedelta(seconds=1)

        await projections.save_marks([Mark(0, 7, NOW), Mark(1, 7, None), Mark(11, 7, NOW)])
        newer = {Mark(0, 7, None), Mark(1, 12, NOW), Mark(11, 8, earlier)}
        await projections.save_marks(list(newer))

        assert set(await projections.marks()) == newer
        assert not await projections.starts()

    async def test_a_mark_of_an_older_claim_comes_too_late(self, projections: Projections) -> None:
        """An engine that stood still does not hold back the lists of the next owner."""
        await projections.save_marks([Mark(0, 10, None), Mark(1, 9, None)])

        await projections.save_marks([Mark(0, 9, NOW), Mark(1, 9, NOW)])

        assert set(await projections.marks()) == {Mark(0, 10, None), Mark(1, 9, NOW)}

    async def test_the_layout_is_what_init_wrote(self, projections: Projections) -> None:
        """There is none before `init`, and the newest one after."""
        assert await projections.layout() is None

        await projections.save_layout(InboxLayout({COMMANDS: "a", REPLIES: "b"}, 12, b"\x00old"))
        layout = InboxLayout({COMMANDS: "c", REPLIES: "d"}, 12, bytes(range(256)))
        await projections.save_layout(layout)

        assert await projections.layout() == layout
        assert not await projections.starts()


def start(
    offset: int, *, topic: str = COMMANDS, topic_id: str = "first", partition: int = 0
) -> InboxStart:
    """A stored start."""
    return InboxStart(topic, partition, topic_id, offset)

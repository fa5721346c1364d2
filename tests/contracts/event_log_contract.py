"""What every `EventLog` promises. An adapter's tests subclass `EventLogContract`."""

from __future__ import annotations

import asyncio
from abc import ABC, abstractmethod
from collections.abc import Sequence

import pytest

from application.ports import Commit, Entry, EventLog
from tests.contracts.samples import AWKWARD_JSON, REPLIES, commit, entry, event, position


@pytest.mark.contract
class EventLogContract(ABC):
    """Subclass it as `Test...` and define the fixture `log`: an empty log, closed afterwards."""

    @pytest.fixture
    @abstractmethod
    def log(self) -> EventLog: ...

    async def append(self, log: EventLog, commits: Sequence[Commit]) -> Sequence[bool]:
        """Append and make durable: a store that waits for `publish` overrides this."""
        return await log.append(commits)

    async def test_a_commit_reads_back_equal(self, log: EventLog) -> None:
        """Every field of a commit, its entries and their events comes back as it was written."""
        written = Commit(
            "wf-1",
            1,
            3,
            (
                Entry(
                    position(7, partition=3, epoch=2),
                    "/orders cmd-7",
                    (event("wf-1", 1), event("wf-1", 2, kind="SAGA_COMPENSATION")),
                ),
                entry("wf-1", range(3, 4), position(9, topic=REPLIES, partition=3)),
            ),
        )

        assert list(await self.append(log, [written])) == [True]

        assert list((await log.read({"wf-1": 0}))["wf-1"]) == [written]

    async def test_what_engines_add_to_an_entry_is_kept(self, log: EventLog) -> None:
        """How many events the message itself changed, which are not published, and what they send."""
        sends = ({"to": "lock:k", "type": "lock-acquire", "data": AWKWARD_JSON}, {"to": "wf-2"})
        events = (
            event("wf-1", 1),
            event("wf-1", 2, type="orchestration.internal.t"),
            event("wf-1", 3, kind="RECOVERY", sends=sends),
        )
        written = Commit("wf-1", 1, 0, (Entry(position(1), "/orders 1", events, primary=2),))

        await self.append(log, [written])

        [read] = (await log.read({"wf-1": 0}))["wf-1"]
        assert read == written
        assert [each.sends for each in read.entries[0].events] == [(), (), sends]

    async def test_any_json_is_kept(self, log: EventLog) -> None:
        """Data with keys and numbers that few stores like comes back unchanged, in its key order."""
        cause = position(1)
        events = (event("wf-1", 1), event("wf-1", 2, output=AWKWARD_JSON))
        written = Commit("wf-1", 1, 0, (Entry(cause, "/orders 1", events),))

        await self.append(log, [written])

        [read] = (await log.read({"wf-1": 0}))["wf-1"]
        assert read == written
        assert list(read.entries[0].events[1].data["output"]) == list(AWKWARD_JSON)

    async def test_an_empty_append_writes_nothing(self, log: EventLog) -> None:
        """No commits, no answers."""
        assert list(await self.append(log, [])) == []

    async def test_an_entry_may_have_no_events(self, log: EventLog) -> None:
        """A message that was decided and changed nothing is remembered too (PROTOCOL rule 8)."""
        ignored = entry("wf-1", range(2, 2), position(8))
        written = Commit("wf-1", 1, 0, (entry("wf-1", range(1, 2), position(7)), ignored))

        await self.append(log, [written])

        assert await log.find_messages("wf-1", [ignored.message_id]) == {
            ignored.message_id: ignored
        }

    async def test_a_second_writer_of_a_version_is_refused(self, log: EventLog) -> None:
        """The first commit of an id stays, whatever comes later."""
        first = commit("wf-1", 1, cause=position(5))
        second = commit("wf-1", 1, events=2, cause=position(6))
        await self.append(log, [first])

        assert list(await self.append(log, [second])) == [False]

        assert list((await log.read({"wf-1": 0}))["wf-1"]) == [first]

    async def test_refused_commits_do_not_disturb_the_others(self, log: EventLog) -> None:
        """Each commit has its own answer, in order, wherever in the batch the duplicates stand."""
        await self.append(log, [commit("wf-2", 1), commit("wf-4", 1), commit("wf-6", 1)])

        written = await self.append(log, [commit(f"wf-{number}", 1) for number in range(7)])

        assert list(written) == [True, True, False, True, False, True, False]
        chains = await log.read({f"wf-{number}": 0 for number in range(7)})
        assert sorted(chains) == [f"wf-{number}" for number in range(7)]

    async def test_of_concurrent_writers_one_wins(self, log: EventLog) -> None:
        """Each version is written by exactly one of those who try at the same time."""
        rounds = [
            await asyncio.gather(
                *(
                    self.append(log, [commit("wf-1", version, cause=position(version * 10 + who))])
                    for who in range(4)
                )
            )
            for version in range(1, 6)
        ]

        assert [sorted(answer[0] for answer in answers) for answers in rounds] == [
            [False, False, False, True]
        ] * 5

    async def test_read_follows_the_chain_of_each_id(self, log: EventLog) -> None:
        """What is read are the commits after the given version, each beginning where one ends."""
        chain = [commit("wf-1", 1, events=3), commit("wf-1", 4), commit("wf-1", 5, events=2)]
        other = commit("wf-2", 1)
        await self.append(log, [*chain, other])

        chains = await log.read({"wf-1": 3, "wf-2": 0, "wf-3": 0})

        assert list(chains["wf-1"]) == chain[1:]
        assert list(chains["wf-2"]) == [other]
        assert not chains.get("wf-3")

    async def test_read_stops_at_a_gap(self, log: EventLog) -> None:
        """A commit that does not continue the chain is not part of it (PROTOCOL rule 5)."""
        await self.append(log, [commit("wf-1", 1), commit("wf-1", 3)])

        chains = await log.read({"wf-1": 0})

        assert [found.first_version for found in chains["wf-1"]] == [1]

    async def test_a_long_chain_is_read_to_its_end_and_not_beyond_a_gap(
        self, log: EventLog
    ) -> None:
        """However many commits follow, beside others whose chain is short."""
        chain = [commit("wf-1", 2 * number + 1, events=2) for number in range(100)]
        beyond = commit("wf-1", 202)
        short = [commit("wf-2", 1), commit("wf-2", 2)]
        await self.append(log, [*chain, beyond, *short])

        chains = await log.read({"wf-1": 0, "wf-2": 0})

        assert list(chains["wf-1"]) == chain
        assert list(chains["wf-2"]) == short

    async def test_read_of_what_is_known_is_empty(self, log: EventLog) -> None:
        """Nothing is newer than the newest version."""
        await self.append(log, [commit("wf-1", 1, events=2)])

        assert not (await log.read({"wf-1": 2})).get("wf-1")

    async def test_since_finds_what_later_messages_caused(self, log: EventLog) -> None:
        """Offsets at or above the start count, in its topic and partition only."""
        at_start = commit("wf-b", 1, cause=position(10))
        later = commit("wf-a", 2, cause=position(11))
        reply = commit("wf-a", 3, cause=position(4, topic=REPLIES))
        before = commit("wf-a", 1, cause=position(9))
        elsewhere = commit("wf-c", 1, cause=position(12, partition=1), partition=1)
        old_reply = commit("wf-b", 2, cause=position(3, topic=REPLIES))
        await self.append(log, [at_start, later, reply, before, elsewhere, old_reply])

        found = await log.since([position(10), position(4, topic=REPLIES)])

        assert list(found) == [later, reply, at_start]

    async def test_what_nothing_caused_stands_before_every_start(self, log: EventLog) -> None:
        """The claim of a partition in which nothing was done yet: kept as it is, and caused by no message."""
        claim = commit("inbox:0", 1, cause=position(-1))
        await self.append(log, [claim])

        assert list((await log.read({"inbox:0": 0}))["inbox:0"]) == [claim]
        assert list(await log.since([position(0), position(0, topic=REPLIES)])) == []

    async def test_since_looks_at_every_entry_once(self, log: EventLog) -> None:
        """One late entry is enough, two do not double the commit, and the epoch does not matter."""
        entries = (
            entry("wf-1", range(1, 2), position(4)),
            entry("wf-1", range(2, 3), position(5, epoch=1)),
            entry("wf-1", range(3, 4), position(6, epoch=1)),
            entry("wf-1", range(4, 5), position(8, topic=REPLIES)),
        )
        written = Commit("wf-1", 1, 0, entries)
        await self.append(log, [written])

        assert list(await log.since([position(5), position(0, topic=REPLIES)])) == [written]

    async def test_since_does_not_mix_two_entries(self, log: EventLog) -> None:
        """A topic of one entry and an offset of another are no cause."""
        entries = (
            entry("wf-1", range(1, 2), position(4)),
            entry("wf-1", range(2, 3), position(99, topic=REPLIES)),
        )
        await self.append(log, [Commit("wf-1", 1, 0, entries)])

        assert list(await log.since([position(5)])) == []
        assert list(await log.since([])) == []

    async def test_history_is_paged_by_version(self, log: EventLog) -> None:
        """Ascending, after a version even within a commit, and no more than asked for."""
        chain = [commit("wf-1", 1, events=3), commit("wf-1", 4), commit("wf-1", 5, events=2)]
        await self.append(log, [*reversed(chain), commit("wf-2", 1)])

        assert list(await log.history("wf-1", 0, 10)) == chain
        assert list(await log.history("wf-1", 0, 2)) == chain[:2]
        assert list(await log.history("wf-1", 2, 10)) == chain
        assert list(await log.history("wf-1", 3, 10)) == chain[1:]
        assert list(await log.history("wf-1", 6, 10)) == []
        assert list(await log.history("wf-9", 0, 10)) == []

    async def test_find_messages_gives_their_entries(self, log: EventLog) -> None:
        """The entries of those messages in that instance, among other entries and instances."""
        wanted = entry("wf-1", range(3, 5), position(8, topic=REPLIES))
        await self.append(
            log,
            [
                commit("wf-1", 1),
                Commit("wf-1", 2, 0, (entry("wf-1", range(2, 3), position(7)), wanted)),
                commit("wf-2", 1, cause=position(8, topic=REPLIES)),
            ],
        )

        ids = [wanted.message_id, position_id(999)]
        assert await log.find_messages("wf-1", ids) == {wanted.message_id: wanted}
        assert await log.find_messages("wf-1", []) == {}
        assert await log.find_messages("wf-2", [position_id(7)]) == {}
        assert await log.find_messages("wf-3", ids) == {}

    async def test_messages_of_an_inbox_are_found(self, log: EventLog) -> None:
        """Of refusals without a workflow, which are commits of an aggregate with very many (PROTOCOL rule 8)."""
        cause = position(8)
        refused = entry("inbox:0", range(2, 3), cause)
        await self.append(
            log,
            [
                Commit("inbox:0", 1, 0, (entry("inbox:0", range(1, 2), position(7)), refused)),
                Commit("inbox:1", 1, 1, (entry("inbox:1", range(1, 2), position(9)),)),
            ],
        )

        ids = [position_id(8), position_id(9)]
        assert await log.find_messages("inbox:0", ids) == {refused.message_id: refused}

    async def test_what_was_appended_last_is_found(self, log: EventLog) -> None:
        """Published or not: only the log's own commits are looked at."""
        first = commit("wf-1", 1)
        found = {each.message_id: each for each in first.entries}
        await log.append([first])

        assert await log.find_messages("wf-1", list(found)) == found

    async def test_confirm_absent_tells_unknown_ids(self, log: EventLog) -> None:
        """Exactly the ids without a commit."""
        await self.append(log, [commit("wf-1", 1), commit("wf-1", 2), commit("wf-10", 1)])

        assert await log.confirm_absent(["wf-1", "wf-10", "wf-2", "wf"]) == {"wf-2", "wf"}
        assert await log.confirm_absent([]) == frozenset()

    async def test_a_large_batch_is_one_append(self, log: EventLog) -> None:
        """Thousands of commits, and reads of thousands of ids, need no splitting by the caller."""
        commits = [commit(f"wf-{number}", 1, events=2) for number in range(3000)]

        assert all(await self.append(log, commits))

        chains = await log.read({commit.aggregate_id: 0 for commit in commits})
        assert [list(chains[commit.aggregate_id]) for commit in commits] == [[c] for c in commits]


def position_id(offset: int) -> str:
    """The message id that `samples.entry` gives the command at this offset."""
    return entry("any", range(0), position(offset)).message_id

"""The rounds of trimming: one line of log each, and no error that ends them."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from functools import partial
from pathlib import Path

from conveyor import topics
from conveyor.topics import EVENTS
from structlog.testing import capture_logs

from adapters.memory.projections import MemoryProjections
from adapters.sqlite.projections import save_offsets
from adapters.sqlite.publisher import SqlitePublisher
from adapters.sqlite.retention import trim
from adapters.sqlite.store import SqliteStore
from application.ports import InboxStart, Trimmed, Unavailable
from domain.aggregate.position import TopicPartition
from infrastructure.trimming import INBOX_ADVICE, Trimming, run_trimming, trim_inbox
from tests.contracts.publisher_contract import event
from tests.waiting import until

START = InboxStart(topics.COMMANDS, 0, "id-1", 7)
OUTCOMES: Sequence[Trimmed | Unavailable] = (
    Unavailable("kafka", "Connection refused"),
    Trimmed(messages=3, failures={TopicPartition(topics.REPLIES, 1): "Topic authorization failed"}),
    Trimmed(messages=5, failures={}),
)


class Recorded:
    """Returns the outcomes one after the other, then stops the rounds."""

    def __init__(self, stop: asyncio.Event) -> None:
        self._left = list(OUTCOMES)
        self._stop = stop
        self.asked: list[Sequence[InboxStart]] = []

    async def trim(self, starts: Sequence[InboxStart]) -> Trimmed:
        self.asked.append(starts)
        outcome = self._left.pop(0)
        if not self._left:
            self._stop.set()
        if isinstance(outcome, Unavailable):
            raise outcome
        return outcome


async def test_every_round_is_tried_whatever_became_of_the_last() -> None:
    """Broker away, not authorised, done: each is logged with what was deleted and what to do."""
    stop = asyncio.Event()
    projections, trimmer = MemoryProjections(), Recorded(stop)
    await projections.save_starts([START])

    with capture_logs() as logs:
        await asyncio.wait_for(
            run_trimming(
                Trimming(
                    trim=partial(trim_inbox, trimmer, projections),
                    interval_seconds=0.01,
                    advice=INBOX_ADVICE,
                ),
                stop,
            ),
            10,
        )

    assert trimmer.asked == [[START]] * 3
    assert [(line["log_level"], line["action"]) for line in logs] == [
        ("warning", "topics.not_trimmed"),
        ("warning", "inbox.trimmed_in_part"),
        ("info", "inbox.trimmed"),
    ]
    away, in_part, done = logs
    assert (away["component"], away["detail"]) == ("kafka", "Connection refused")
    assert in_part["failures"] == {f"{topics.REPLIES}/1": "Topic authorization failed"}
    assert (in_part["messages"], done["messages"]) == (3, 5)
    assert all("ACL" in line["advice"] for line in (away, in_part))


async def test_a_process_that_stops_does_not_wait_for_the_next_round() -> None:
    """Nothing is trimmed on the way out."""
    stop = asyncio.Event()
    stop.set()
    trimmer = Recorded(stop)

    trim_all = partial(trim_inbox, trimmer, MemoryProjections())

    await asyncio.wait_for(run_trimming(Trimming(trim=trim_all, interval_seconds=3600), stop), 10)

    assert trimmer.asked == []


async def test_a_file_that_cannot_be_written_ends_no_process(tmp_path: Path) -> None:
    """A round on a full disk is left to the next one."""
    store = SqliteStore(tmp_path / "conveyor.db")
    await SqlitePublisher(store).publish([event(1), event(2)])
    await store.write([save_offsets("reader", [InboxStart(EVENTS, 0, store.topics[EVENTS].id, 2)])])
    store._writer._connection.execute("PRAGMA query_only = ON")
    stop = asyncio.Event()
    trimming = Trimming(trim=partial(trim, store), interval_seconds=0.01)

    with capture_logs() as logs:
        rounds = asyncio.create_task(run_trimming(trimming, stop))
        await until(lambda: rounds.done() or len(logs) >= 2)
        stop.set()
        await rounds
    await store.close()

    assert {line["action"] for line in logs} == {"topics.not_trimmed"}
    assert "readonly" in logs[0]["detail"]

"""What a run without an engine writes is what a run with one writes."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from pathlib import Path

import pytest
from conveyor import topics

from bench.recipes.embedded_ceiling import EmbeddedCopies
from bench.recipes.embedded_site import Role, embedded_site, engine, participant
from bench.recipes.kafka_ceiling import EngineCopy, ParticipantCopy
from bench.recipes.load import STEPS, Load, Phase
from bench.recipes.rounds import Rounds
from bench.recipes.saga import Saga, record_saga
from infrastructure.settings import load_settings

PREFIX = "copy-"
WORKFLOWS = 7
LOAD = Load(workflows=WORKFLOWS, in_flight=3)
#: Per table what there is, apart from how it was gathered into batches, and from the engine's claim of its partition.
CONTENT = {
    "commits": (
        "SELECT last_version, count(*) FROM commits JOIN instances ON number = key >> 32"
        " WHERE id NOT LIKE 'inbox:%' GROUP BY 1 ORDER BY 1"
    ),
    "causes": "SELECT count(*) FROM causes",
    "workflows": "SELECT id, status, version FROM workflows WHERE id NOT LIKE 'inbox:%' ORDER BY 1",
    "records of keys": "SELECT step, count(*) FROM participant_keys GROUP BY 1 ORDER BY 1",
    "topics": (
        "SELECT name, sum(count) FROM topics JOIN record_batches ON topic = number"
        " GROUP BY 1 ORDER BY 1"
    ),
}


@pytest.fixture(scope="module")
def saga() -> Saga:
    return record_saga(PREFIX, load_settings())


def test_a_saga_is_recorded_whole(saga: Saga) -> None:
    """Every inbox message's commit, events and request, and every request's reply."""
    messages = [message for hop in saga.hops for message in hop.messages]

    requests = [message for message in messages if message.topic != topics.EVENTS]
    assert (len(saga.hops), len(saga.answers), len(requests)) == (STEPS + 1, STEPS, STEPS)
    assert [hop.document["status"] for hop in saga.hops] == ["EXECUTING"] * STEPS + ["COMPLETED"]
    start = 1
    assert start + len(messages) + len(saga.answers) == 23


async def written(path: Path, roles: Sequence[Role]) -> dict[str, list[tuple[object, ...]]]:
    """What the file holds once these roles have run all workflows."""
    async with embedded_site(path, roles) as site:
        await site.drive(Phase(PREFIX, LOAD))
        await site.stop()
        return {name: await site.mode.store.query(sql, ()) for name, sql in CONTENT.items()}


def test_the_embedded_ceiling_writes_the_same(saga: Saga, tmp_path: Path) -> None:
    """Row for row: commits, causes, states, records of keys and messages."""
    copies = EmbeddedCopies(saga, {PREFIX: WORKFLOWS})

    real = asyncio.run(written(tmp_path / "real.db", [engine(load_settings()), participant]))
    bare = asyncio.run(written(tmp_path / "bare.db", [copies.run_engine, copies.run_participant]))

    assert bare == real


def test_copies_on_kafka_differ_in_the_id_only(saga: Saga) -> None:
    """No copy mentions the saga that it was made of, and each is exactly as long."""
    settings, phases = load_settings(), {"else-": 2}
    hops = EngineCopy(saga, phases, settings)._hops
    answers = ParticipantCopy(saga, phases, settings)._answers
    old = saga.workflow_id.encode()
    original = EngineCopy(saga, {PREFIX: 1}, settings)._hops[saga.workflow_id]

    assert list(hops) == list(answers) == ["else-0000000", "else-0000001"]
    for copied, source in zip(hops["else-0000001"], original, strict=True):
        assert old not in copied.commit.raw
        assert old not in copied.state.raw
        assert [len(each.value or b"") for each in copied.records] == [
            len(each.value or b"") for each in source.records
        ]
        assert all(old not in repr(each).encode() for each in copied.records)


async def test_a_round_writes_the_newest_of_what_changed_before() -> None:
    """Of many changes of one key the last is written, and nothing twice."""
    rounds = Rounds[str, int](0.0)
    seen: list[dict[str, int]] = []

    async def write(values: object) -> None:
        seen.append(dict(values))  # type: ignore[call-overload]

    rounds.changed({"a": 1, "b": 1})
    await rounds.begin_if_due(write)
    rounds.changed({"a": 2})
    await rounds.begin_if_due(write)
    await rounds.finish(write)

    assert seen == [{"a": 2, "b": 1}]

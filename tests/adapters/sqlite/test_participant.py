"""A participant in the same process: requests in, replies, key records and offsets out together."""

from __future__ import annotations

import asyncio
import sqlite3
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import Any

import pytest
from conveyor import topics
from conveyor.errors import ServerUnavailableError
from conveyor.handlers import StepContext
from conveyor.keys import EXPIRED, KeyRecord, KeyState, failed, performed
from conveyor.messages import Message, Record
from conveyor.participant import Participant as SdkParticipant
from conveyor.transport import Taken

from adapters.sqlite.batches import as_message
from adapters.sqlite.participant import (
    ParticipantSession,
    SqliteKeyStore,
    SqliteParticipantTransport,
)
from adapters.sqlite.projections import load_offsets
from adapters.sqlite.publisher import SqlitePublisher
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.writer import Group
from tests.sdk.requests_of import running, step_request
from tests.waiting import until

SERVICE = "inventory-service"
KEY = "wf-0/reserve/1"
REQUESTS = topics.step_requests(SERVICE)


class Participant:
    """A participant's side of one store."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        self.session = ParticipantSession(store)
        self.transport = SqliteParticipantTransport(self.session)
        self.keys = SqliteKeyStore(self.session)

    async def start(self) -> None:
        await self.transport.start("warehouse", [SERVICE])

    async def committed(self) -> int | None:
        starts = await load_offsets(self.store, "participants")
        return starts[0].offset if starts else None


def request(number: int) -> Message:
    return Message(
        topic=REQUESTS,
        key=f"wf-{number}",
        type="orchestration.step.requested",
        source="/conveyor",
        id=f"wf-{number}:2",
        data=b"{}",
        extensions={"idempotencykey": f"wf-{number}/reserve/1"},
    )


def reply(taken: Taken) -> Message:
    return Message(
        topic=topics.REPLIES,
        key=taken.message.key,
        type="orchestration.step.completed",
        source="/participants/warehouse",
        id=f"{taken.message.id}/reply",
        data=b"{}",
    )


def numbers(taken: Sequence[Taken]) -> list[str | None]:
    return [each.message.key for each in taken]


@pytest.fixture
async def participant(store: SqliteStore) -> Participant:
    participant = Participant(store)
    await participant.start()
    return participant


async def requested(participant: Participant, count: int) -> Sequence[Taken]:
    """So many requests, published and taken."""
    await SqlitePublisher(participant.store).publish([request(n) for n in range(count)])
    return await participant.transport.take(count, 10.0)


async def test_requests_come_in_order_with_their_place(participant: Participant) -> None:
    """At most as many as asked for; none with limit 0."""
    await SqlitePublisher(participant.store).publish([request(n) for n in range(3)])

    nothing = await participant.transport.take(0, 10.0)
    first = await participant.transport.take(2, 10.0)
    second = await participant.transport.take(2, 10.0)

    assert not nothing
    assert [each.offset for each in (*first, *second)] == [0, 1, 2]
    assert {each.partition for each in first} == {0}


async def test_replies_records_and_offsets_are_one_transaction(participant: Participant) -> None:
    """A reply is never seen without its key record, nor the record without the offset."""
    await participant.store.topic(topics.REPLIES)
    taken = await requested(participant, 1)
    key = "wf-0/reserve/1"
    await participant.keys.open({key: 1})
    await participant.keys.save({key: performed(1, b"{}")})
    database = participant.store._writer._connection
    seen: list[str] = []
    database.set_trace_callback(seen.append)

    await participant.transport.finish(taken, [reply(each) for each in taken])

    assert [sql for sql in seen if sql in {"BEGIN IMMEDIATE", "COMMIT"}] == [
        "BEGIN IMMEDIATE",
        "COMMIT",
    ]
    assert await participant.committed() == 1
    assert participant.store.topics[topics.REPLIES].written == 1


async def test_offsets_do_not_pass_an_unfinished_request(participant: Participant) -> None:
    """Requests are finished in any order; what is behind a gap waits for it."""
    taken = await requested(participant, 4)

    committed: list[int | None] = []
    for index in (1, 3, 0, 2):
        await participant.transport.finish([taken[index]], [reply(taken[index])])
        committed.append(await participant.committed())

    assert committed == [0, 0, 2, 4]


async def test_what_was_not_finished_comes_again(path: Path) -> None:
    """A successor gets every request without a reply, and none below the first of them."""
    store = SqliteStore(path)
    first = Participant(store)
    await first.start()
    taken = await requested(first, 3)
    await first.transport.finish([taken[0]], [reply(taken[0])])
    await first.transport.close()
    await store.close()

    store = SqliteStore(path)
    successor = Participant(store)
    await successor.start()

    assert numbers(await successor.transport.take(10, 10.0)) == ["wf-1", "wf-2"]
    await store.close()


async def test_a_claim_survives_the_process(path: Path) -> None:
    """Who was killed after `open` leaves a claim; what he had saved and not finished is gone."""
    store = SqliteStore(path)
    killed = Participant(store)
    await killed.keys.open({"a": 1, "b": 1})
    await killed.keys.save({"b": performed(1, b"{}")})
    await store.close()

    store = SqliteStore(path)
    opened = await Participant(store).keys.open({"a": 2, "b": 2})

    assert opened == {"a": KeyRecord(claimed=1), "b": KeyRecord(claimed=1)}
    await store.close()


async def test_a_saved_record_is_known_before_it_is_on_disk(participant: Participant) -> None:
    """The next request of a key is decided on its newest record, also while that is written."""
    key = "wf-0/reserve/1"
    await participant.keys.open({key: 1})
    await participant.keys.save({key: performed(1, b"{}")})
    taken = await requested(participant, 1)

    finishing = asyncio.create_task(participant.transport.finish(taken, []))
    await asyncio.sleep(0)
    opened = await participant.keys.open({key: 0})
    await finishing

    assert opened[key].state is KeyState.PERFORMED


async def test_a_held_key_is_not_opened_twice(participant: Participant) -> None:
    """It is absent from the answer until it was saved."""
    await participant.keys.open({"a": 1})

    assert await participant.keys.open({"a": 1}) == {}


async def test_a_failed_finish_can_be_made_again(participant: Participant) -> None:
    """Nothing of it was written, and nothing is forgotten: the same call writes all of it."""
    taken = await requested(participant, 1)
    await participant.keys.open({"a": 1})
    await participant.keys.save({"a": performed(1, b"{}")})
    database = participant.store._writer._connection
    database.execute("PRAGMA query_only = ON")
    with pytest.raises(ServerUnavailableError):
        await participant.transport.finish(taken, [])
    assert await participant.committed() is None
    database.execute("PRAGMA query_only = OFF")

    await participant.transport.finish(taken, [reply(taken[0])])

    assert await participant.committed() == 1
    records = await Participant(participant.store).session.load(["a"])
    assert records["a"].state is KeyState.PERFORMED


def _refusing_records(store: SqliteStore) -> Callable[[], None]:
    """No group with a key record is written until the answer is called."""
    execute = store._writer._execute_all

    def without_records(group: Group) -> list[int]:
        if any("INTO participant_keys" in statement.sql for statement in group.statements):
            raise sqlite3.OperationalError("database or disk is full")
        return execute(group)

    def restore() -> None:
        store._writer._execute_all = execute

    store._writer._execute_all = without_records
    return restore


async def test_no_reply_without_its_record(participant: Participant) -> None:
    """A finish that is made again carries the record itself, whatever else was written meanwhile."""
    store = participant.store
    await store.topic(topics.REPLIES)
    taken = await requested(participant, 1)
    await participant.keys.open({KEY: 1})
    await participant.keys.save({KEY: performed(1, b"{}")})
    restore = _refusing_records(store)
    with pytest.raises(ServerUnavailableError):
        await participant.transport.finish(taken, [reply(taken[0])])

    outcomes = await asyncio.gather(
        participant.keys.open({"wf-9/reserve/1": 1}),
        participant.transport.finish(taken, [reply(taken[0])]),
        return_exceptions=True,
    )

    assert isinstance(outcomes[1], ServerUnavailableError)
    assert store.topics[topics.REPLIES].written == 0
    restore()
    await participant.transport.finish(taken, [reply(taken[0])])
    records = await ParticipantSession(store).load([KEY])
    assert (records[KEY].state, records[KEY].claimed) == (KeyState.PERFORMED, 0)


async def test_a_finish_that_is_made_again_leaves_newer_claims(participant: Participant) -> None:
    """While it failed the next attempt may have begun; its claim must outlive a death."""
    store = participant.store
    taken = await requested(participant, 1)
    await participant.keys.open({KEY: 1})
    await participant.keys.save({KEY: failed(1, EXPIRED)})
    restore = _refusing_records(store)

    finishing, _ = await asyncio.gather(
        participant.transport.finish(taken, []),
        participant.keys.open({KEY: 2}),
        return_exceptions=True,
    )
    restore()
    await participant.transport.finish(taken, [])

    assert isinstance(finishing, ServerUnavailableError)
    records = await ParticipantSession(store).load([KEY])
    assert (records[KEY].state, records[KEY].claimed) == (KeyState.FAILED, 2)


async def test_a_request_that_cannot_be_read_becomes_a_dead_letter(
    participant: Participant,
) -> None:
    """It holds up nobody, and its reason and place stand in the headers."""
    broken = Record(topic=REQUESTS, key=b"wf-1", value=b"\xff", headers=())
    await SqlitePublisher(participant.store).publish([broken, request(2)])

    taken = await participant.transport.take(10, 10.0)
    await participant.transport.take(0, 0)

    assert numbers(taken) == ["wf-2"]
    dead_letters = participant.store.topics[topics.DEAD_LETTER]
    [letter] = (await participant.store._read_batches(dead_letters, 0, 10))[0].records
    assert isinstance(letter, Record)
    headers = dict(letter.headers)
    assert headers["dlq-reason"] == b"MALFORMED_EVENT"
    assert (headers["dlq-topic"], headers["dlq-offset"]) == (REQUESTS.encode(), b"0")
    await participant.transport.finish(taken, [])
    assert await participant.committed() == 2


async def test_the_sdks_runner_works_on_it(participant: Participant) -> None:
    """Every request is answered, a repeated one from its record, and the offsets follow."""
    performed_keys: list[str] = []
    worker = SdkParticipant("warehouse")

    @worker.step(SERVICE, "reserve")
    def reserve(data: dict[str, Any], context: StepContext) -> dict[str, Any]:
        performed_keys.append(context.idempotency_key)
        return {"reservationId": context.workflow_id}

    store = participant.store
    replies = store.consumer({await store.topic(topics.REPLIES): 0})
    requests = [step_request(f"wf-{n}") for n in range(50)]
    answered: list[object] = []
    async with running(worker, SqliteParticipantTransport(participant.session), participant.keys):
        await SqlitePublisher(store).publish([*requests, *requests[:10]])
        async with asyncio.timeout(30.0):
            while len(answered) < 60:
                for _, batches in await replies.take(100, 1.0):
                    answered += [as_message(each) for b in batches for each in b.records]

    assert sorted(performed_keys) == sorted({f"wf-{n}/reserve-inventory/1" for n in range(50)})
    assert await participant.committed() == 60


async def test_a_service_is_taken_over_where_it_stands(participant: Participant) -> None:
    """The newer reader begins once the older has answered what it took; no request is read by both."""
    [taken] = await requested(participant, 1)
    newer = SqliteParticipantTransport(participant.session)
    starting = asyncio.create_task(newer.start("worker", [SERVICE]))
    await SqlitePublisher(participant.store).publish([request(1)])
    await until(lambda: not participant.store.topics[REQUESTS].readers)
    assert not starting.done()
    assert not await participant.transport.take(10, 0)

    await participant.transport.finish([taken], [reply(taken)])
    await starting
    assert numbers(await newer.take(10, 10.0)) == ["wf-1"]


async def test_the_earlier_reader_reads_on(participant: Participant) -> None:
    """When the newer one leaves: what that one took and did not finish is delivered again."""
    newer = SqliteParticipantTransport(participant.session)
    await newer.start("worker", [SERVICE])
    await SqlitePublisher(participant.store).publish([request(0), request(1)])
    first, _ = await newer.take(10, 10.0)
    await newer.finish([first], [reply(first)])
    assert not await participant.transport.take(10, 0)

    await newer.close()
    assert numbers(await participant.transport.take(10, 10.0)) == ["wf-1"]


async def test_a_reader_that_leaves_gives_up_what_it_took(participant: Participant) -> None:
    """The next reader does not wait for it."""
    await requested(participant, 1)
    newer = SqliteParticipantTransport(participant.session)
    starting = asyncio.create_task(newer.start("worker", [SERVICE]))
    await until(lambda: not participant.store.topics[REQUESTS].readers)

    await participant.transport.close()
    await starting
    assert numbers(await newer.take(10, 10.0)) == ["wf-0"]


async def test_a_key_is_held_by_one_participant(participant: Participant) -> None:
    """Also where two of them serve the step and its undo."""
    other = SqliteKeyStore(participant.session)
    await participant.keys.open({KEY: 1})

    assert not await other.open({KEY: 1})
    assert await other.save({KEY: performed(1, b"{}")}) == {KEY}
    await participant.keys.close()
    assert (await other.open({KEY: 1}))[KEY].claimed == 1

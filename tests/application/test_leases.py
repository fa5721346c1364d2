"""Leases: who has a request, and what its answer, its deadline and the end of its lease lead to."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from conveyor.keys import KeyRecord, KeyState, unknown
from conveyor.participant import Participant
from conveyor.requests import Request, read_request
from conveyor.transport import Taken
from conveyor.values import replace

from application.use_cases.refusal import Refused
from application.workers.answers import Answer
from application.workers.leases import Leases
from tests.sdk.requests_of import seal_request, step_request
from tests.waiting import until

COMPLETED = {"type": "orchestration.step.completed", "data": {"output": {"n": 1}}}
FAILED = {
    "type": "orchestration.step.failed",
    "data": {"error": {"code": "BUSY", "message": "", "type": "SERVICE_UNAVAILABLE"}},
}
SHORT, LONG = 0.01, 60.0
NOTHING = KeyRecord()


class Desk:
    """Leases, with a clock, and what was replied late."""

    def __init__(self) -> None:
        self.time = datetime.now(UTC)
        self.late: list[tuple[Request, Answer]] = []
        self.leases = Leases(lambda: self.time, self._reply_late)
        self._offset = 0

    async def _reply_late(self, request: Request, answer: Answer, _: str | None) -> None:
        self.late.append((request, answer))

    def request(self, record: KeyRecord = NOTHING, **options: Any) -> Request:
        return self.read(step_request("wf-1", **options), record)

    def seal(self, record: KeyRecord) -> Request:
        request = self.read(seal_request("wf-1"), record)
        request.attempt = record.claimed
        request.repeats = request.body  # type: ignore[assignment]
        return request

    def read(self, message: Any, record: KeyRecord = NOTHING) -> Request:
        request = read_request(Taken(message, 0, self._offset), Participant("any"))
        self._offset += 1
        request.records = {request.key: record}
        return request

    def offer(self, request: Request) -> asyncio.Future[None]:
        performing = self.leases.perform(request)
        assert performing is not None
        return asyncio.ensure_future(performing)

    async def answer(self, lease: str, event: Any) -> bool:
        """With the runner, which writes what is decided."""
        answering = asyncio.create_task(self.leases.answer(lease, event))
        await asyncio.sleep(0)
        self.leases.finished([Taken(step_request(), 0, n) for n in range(self._offset)])
        return await answering


@pytest.fixture
def desk() -> Desk:
    return Desk()


async def test_the_oldest_first_and_one_worker_each(desk: Desk) -> None:
    """Requests are lent in their order."""
    for attempt in (1, 2, 3):
        desk.offer(desk.request(attempt=attempt))

    first, second = desk.leases.lend(2, LONG), desk.leases.lend(2, LONG)

    attempts = [each.message.extensions["attempt"] for each in first + second]
    assert attempts == ["1", "2", "3"]
    assert len({each.lease for each in first + second}) == 3


async def test_an_answer_decides(desk: Desk) -> None:
    """A success is the key's record from then on."""
    request = desk.request()
    decided = desk.offer(request)
    [lent] = desk.leases.lend(1, LONG)

    assert await desk.answer(lent.lease, COMPLETED)
    await decided
    record = request.records[request.key]
    assert (record.state, record.output) == (KeyState.PERFORMED, b'{"n":1}')


async def test_a_lease_ends_and_another_worker_gets_the_request(desk: Desk) -> None:
    """It is told that the request was given out before."""
    desk.offer(desk.request())
    [first] = desk.leases.lend(1, SHORT)

    assert await desk.leases.until_free(LONG)
    [second] = desk.leases.lend(1, LONG)
    assert (first.is_recovered, second.is_recovered) == (False, True)
    assert first.lease != second.lease


async def test_an_extended_lease_does_not_end(desk: Desk) -> None:
    """Only the last end of a lease counts."""
    desk.offer(desk.request())
    desk.offer(desk.request(attempt=2))
    extended, ended = desk.leases.lend(2, SHORT)

    assert desk.leases.extend([extended.lease], LONG) == ([extended.lease], [])
    assert await desk.leases.until_free(LONG)
    assert [each.message for each in desk.leases.lend(5, LONG)] == [ended.message]


async def test_a_success_of_a_lost_lease_counts(desk: Desk) -> None:
    """The step was performed; who has the request now has lost it."""
    request = desk.request()
    desk.offer(request)
    [first] = desk.leases.lend(1, SHORT)
    await desk.leases.until_free(LONG)
    [second] = desk.leases.lend(1, LONG)

    assert not await desk.answer(first.lease, COMPLETED)
    assert not await desk.answer(second.lease, FAILED)
    assert request.records[request.key].state is KeyState.PERFORMED


async def test_a_failure_of_a_lost_lease_does_not(desk: Desk) -> None:
    """The other worker may be performing the same attempt (PROTOCOL rule 3)."""
    request = desk.request()
    decided = desk.offer(request)
    [first] = desk.leases.lend(1, SHORT)
    await desk.leases.until_free(LONG)
    [second] = desk.leases.lend(1, LONG)

    assert not await desk.answer(first.lease, FAILED)
    assert not decided.done()
    assert await desk.answer(second.lease, COMPLETED)


async def test_a_success_stays_true_when_the_key_was_held_by_another_process(desk: Desk) -> None:
    """Its record was not written, so the runner handles the request again: by the answer that is there."""
    request = desk.request()
    performing = desk.offer(request)
    [lent] = desk.leases.lend(1, LONG)
    answering = asyncio.create_task(desk.leases.answer(lent.lease, COMPLETED))
    await performing

    request.records = {request.key: unknown(NOTHING, 1, None)}
    assert desk.leases.perform(request) is None
    assert request.records[request.key].state is KeyState.PERFORMED
    desk.leases.finished([request.taken])
    assert await answering


async def test_a_failure_of_a_key_that_another_process_held_does_not_count(desk: Desk) -> None:
    """That process may have lent the same attempt to another worker."""
    request = desk.request()
    performing = desk.offer(request)
    [lent] = desk.leases.lend(1, LONG)
    answering = asyncio.create_task(desk.leases.answer(lent.lease, FAILED))
    await performing

    request.records = {request.key: unknown(NOTHING, 1, None)}
    desk.offer(request)
    assert not await answering
    [again] = desk.leases.lend(1, LONG)
    assert again.is_recovered


async def test_a_request_that_nobody_took_expires(desk: Desk) -> None:
    """It was not begun: a promise that can be given (rule 2)."""
    request = desk.request(deadline=timedelta(seconds=SHORT))
    await desk.offer(request)

    record = request.records[request.key]
    assert (record.state, record.claimed) == (KeyState.FAILED, 0)
    assert desk.leases.lend(1, LONG) == []


async def test_after_its_deadline_a_lost_request_stays_open(desk: Desk) -> None:
    """Nobody is to begin it, and nothing is promised. A late success is replied."""
    request = desk.request(deadline=timedelta(seconds=30))
    decided = desk.offer(request)
    [lent] = desk.leases.lend(1, SHORT)
    desk.time += timedelta(seconds=31)
    await decided

    assert request.failure is not None
    assert request.failure.outcome_unknown
    record = request.records[request.key]
    assert (record.state, record.claimed) == (KeyState.NONE, 1)
    assert record.request is not None
    assert not await desk.answer(lent.lease, COMPLETED)
    assert [each[0] for each in desk.late] == [request]


async def test_a_request_of_a_dead_process_is_not_begun_late(desk: Desk) -> None:
    """It was lent before; after its deadline only a seal can find out."""
    request = desk.request(KeyRecord(claimed=1), deadline=timedelta(seconds=-1))

    assert desk.leases.perform(request) is None
    assert request.failure is not None
    assert request.failure.outcome_unknown


@pytest.mark.parametrize(
    ("performed", "state"), [(True, KeyState.PERFORMED), (False, KeyState.SEALED)]
)
async def test_a_seal_asks_the_worker(desk: Desk, performed: bool, state: KeyState) -> None:
    """With the request whose outcome is in question; its answer is final."""
    seal = desk.seal(unknown(KeyRecord(), 2, b'{"attempt":2}'))
    desk.offer(seal)
    [lent] = desk.leases.lend(1, LONG)

    event = {"type": "orchestration.step.sealed", "data": {"performed": performed}}
    assert lent.asks_about == b'{"attempt":2}'
    assert await desk.answer(lent.lease, event)
    assert seal.records[seal.key].state is state
    assert seal.records[seal.key].claimed == 0


async def test_a_failure_settles_no_earlier_attempt(desk: Desk) -> None:
    """Attempt 1 was lost; that attempt 2 did nothing says nothing of it (ADR 28)."""
    request = desk.request(KeyRecord(claimed=1), attempt=2)
    desk.offer(request)
    [lent] = desk.leases.lend(1, LONG)
    await desk.answer(lent.lease, FAILED)

    record = request.records[request.key]
    assert (record.state, record.attempt, record.claimed) == (KeyState.FAILED, 2, 1)


async def test_an_answer_that_cannot_be_understood_leaves_the_lease(desk: Desk) -> None:
    """The worker may answer again."""
    desk.offer(desk.request())
    [lent] = desk.leases.lend(1, LONG)

    with pytest.raises(Refused):
        await desk.leases.answer(lent.lease, {"type": "orchestration.step.sealed", "data": {}})
    assert await desk.answer(lent.lease, COMPLETED)


async def test_a_verification_is_answered_by_the_key_of_its_request(desk: Desk) -> None:
    """Its record has the attempt in its key, which the worker does not see."""
    asked = step_request("wf-1", attempt=2)
    key = f"{asked.extensions['idempotencykey']}/verify"
    request = desk.read(replace(asked, extensions={**asked.extensions, "idempotencykey": key}))
    decided = desk.offer(request)
    [lent] = desk.leases.lend(1, LONG)

    with pytest.raises(Refused):
        await desk.answer(lent.lease, {**COMPLETED, "idempotencykey": f"{key}/2"})
    assert await desk.answer(lent.lease, {**COMPLETED, "idempotencykey": key})
    await decided
    assert request.records[f"{key}/2"].state is KeyState.PERFORMED


async def test_who_waits_is_woken(desk: Desk) -> None:
    """By the next request, and by the end."""
    waiting = asyncio.create_task(desk.leases.until_free(LONG))
    await until(lambda: not desk.leases.is_idle)
    desk.offer(desk.request())
    assert await waiting

    desk.leases.lend(1, LONG)
    waiting = asyncio.create_task(desk.leases.until_free(LONG))
    await asyncio.sleep(0)
    desk.leases.close()
    assert not await waiting


async def test_a_late_success_may_be_corrected(desk: Desk) -> None:
    """A lost lease is remembered until its answer was understood."""
    request = desk.request()
    desk.offer(request)
    [first] = desk.leases.lend(1, SHORT)
    await desk.leases.until_free(LONG)

    with pytest.raises(Refused):
        await desk.leases.answer(first.lease, {"type": "orchestration.step.completed"})
    assert not await desk.answer(first.lease, COMPLETED)
    assert request.records[request.key].state is KeyState.PERFORMED


async def test_an_output_that_is_too_large_is_final(desk: Desk) -> None:
    """The step was performed; its reply must fit on the topic."""
    request = desk.request()
    desk.offer(request)
    [lent] = desk.leases.lend(1, LONG)
    large = {"type": "orchestration.step.completed", "data": {"output": {"text": "x" * 500_000}}}
    assert await desk.answer(lent.lease, large)

    record = request.records[request.key]
    assert record.state is KeyState.PERFORMED
    assert record.failure is not None
    assert record.failure.code == "TOO_LARGE"

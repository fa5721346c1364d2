"""A running participant, request by request (PROTOCOL rules 1-4, 10), without a broker."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import Mapping, Sequence
from datetime import timedelta
from typing import Any

import pytest
from conveyor import topics, types
from conveyor.cloudevents import decode, encode
from conveyor.errors import (
    RetryableError,
    ServerUnavailableError,
    TerminalError,
    UnknownOutcomeError,
)
from conveyor.execution import run
from conveyor.handlers import StepContext, StepResult
from conveyor.key_store import MemoryKeyStore
from conveyor.keys import KeyRecord, performed
from conveyor.memory import MemoryTransport
from conveyor.messages import Message, Record
from conveyor.participant import Participant
from conveyor.requests import read_request
from conveyor.runner import ParticipantRunner
from conveyor.transport import Taken
from conveyor.values import replace
from pydantic import BaseModel

from tests.sdk.requests_of import data_of, running, seal_request, step_request, undo_request


class Stock:
    """A participant whose handler does what the test asks, and counts."""

    def __init__(self) -> None:
        self.participant = Participant("inventory")
        self.reserved: list[StepContext] = []
        self.released: list[StepContext] = []
        #: Raised by the next calls, one each.
        self.errors: list[Exception] = []
        #: Set to let waiting handlers go on; None: they do not wait.
        self.gate: asyncio.Event | None = None
        self.begun = asyncio.Event()
        step = self.participant.step("inventory-service", "reserve")(self.reserve)
        step.compensation("release")(self.release)

    def reserve(self, data: dict[str, Any], context: StepContext) -> Any:
        self.begun.set()
        if self.gate is not None:
            return self._reserve_later(self.gate, context)
        return self._reserve(context)

    async def _reserve_later(self, gate: asyncio.Event, context: StepContext) -> dict[str, Any]:
        await gate.wait()
        return self._reserve(context)

    def _reserve(self, context: StepContext) -> dict[str, Any]:
        if self.errors:
            raise self.errors.pop(0)
        self.reserved.append(context)
        return {"reservationId": f"res-{len(self.reserved)}"}

    def release(self, context: StepContext) -> None:
        if self.errors:
            raise self.errors.pop(0)
        self.released.append(context)


@pytest.fixture
def stock() -> Stock:
    return Stock()


@pytest.fixture
def transport() -> MemoryTransport:
    return MemoryTransport()


@pytest.fixture
def keys() -> MemoryKeyStore:
    return MemoryKeyStore()


async def replies_to(transport: MemoryTransport, *requests: Message) -> list[Message]:
    """Send the requests one after another, each when the one before is answered."""
    replies: list[Message] = []
    for request in requests:
        count = len(transport.replies)
        await transport.request(request)
        replies.append((await transport.until_replied(count + 1))[count])
    return replies


async def test_the_reply(stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore) -> None:
    """A reply carries all that CONTRACT 6 asks for, and the tracing of its request."""
    request = step_request()
    async with running(stock.participant, transport, keys):
        [reply] = await replies_to(transport, request)

    assert (reply.topic, reply.key, reply.subject) == (topics.REPLIES, "wf-1", "wf-1")
    assert (reply.type, reply.source) == (types.STEP_COMPLETED, "/participants/inventory")
    assert reply.id == f"{request.id}/reply"
    assert dict(reply.extensions) == {
        "idempotencykey": "wf-1/reserve-inventory/1",
        "correlationid": "corr-1",
        "causationid": request.id,
        "traceparent": request.extensions["traceparent"],
    }
    data = data_of(reply)
    assert data.pop("executionTimeMs") >= 0
    assert data == {
        "workflowId": "wf-1",
        "stepId": "reserve-inventory",
        "attempt": 1,
        "round": 1,
        "compensation": False,
        "output": {"reservationId": "res-1"},
        "snapshot": None,
        "instance": "inv-01",
    }


async def test_the_source_of_a_reply_is_a_uri_reference(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """A participant may have any name; a source with white space would be refused."""
    stock.participant.name = "main stock"
    async with running(stock.participant, transport, keys):
        [reply] = await replies_to(transport, step_request())

    assert reply.source == "/participants/main%20stock"
    assert decode(encode(reply)).source == reply.source


async def test_the_context(stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore) -> None:
    """A handler learns everything that its request says."""
    async with running(stock.participant, transport, keys):
        await replies_to(
            transport,
            step_request(attempt=2, round=3),
            undo_request(round=3, step_output={"reservationId": "res-1"}),
        )

    [forward], [undo] = stock.reserved, stock.released
    assert (forward.workflow_id, forward.step_id) == ("wf-1", "reserve-inventory")
    assert (forward.attempt, forward.round, forward.recovered) == (2, 3, False)
    assert forward.idempotency_key == "wf-1/reserve-inventory/3"
    assert (forward.correlation_id, forward.fencing_token) == ("corr-1", 7)
    assert forward.deadline is not None
    assert undo.idempotency_key == "wf-1/reserve-inventory/3/undo"
    assert undo.step_output == {"reservationId": "res-1"}
    assert (undo.strategy, undo.reason) == ("REVERSE_OPERATION", "a later step failed")


async def test_performed_once(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """Copies and later attempts of a performed step get the same output, under stable ids."""
    async with running(stock.participant, transport, keys):
        first, copy, later = await replies_to(
            transport, step_request(), step_request(), step_request(attempt=2)
        )

    assert len(stock.reserved) == 1
    assert first.id == copy.id != later.id
    assert first.data == copy.data
    assert data_of(later)["output"] == {"reservationId": "res-1"}
    assert data_of(later)["attempt"] == 2


async def test_a_new_round_is_a_new_step(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """After an undo the next round performs again (rule 10)."""
    async with running(stock.participant, transport, keys):
        replies = await replies_to(transport, step_request(), undo_request(), step_request(round=2))

    assert len(stock.reserved) == 2
    assert data_of(replies[2])["round"] == 2


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (
            TerminalError("OUT_OF_STOCK", "none left"),
            {"code": "OUT_OF_STOCK", "type": "BUSINESS_RULE_VIOLATION", "retryable": False},
        ),
        (
            RetryableError("DOWN", "try later", "MAINTENANCE"),
            {"code": "DOWN", "type": "MAINTENANCE", "retryable": True},
        ),
        (
            ZeroDivisionError("oops"),
            {"code": "INTERNAL", "type": "INTERNAL", "retryable": False},
        ),
    ],
)
async def test_a_failed_attempt_never_runs_again(
    stock: Stock,
    transport: MemoryTransport,
    keys: MemoryKeyStore,
    error: Exception,
    expected: dict[str, Any],
) -> None:
    """A copy of a failed attempt gets the recorded failure; only a higher attempt tries (rule 3)."""
    stock.errors = [error]
    async with running(stock.participant, transport, keys):
        first, copy, second = await replies_to(
            transport, step_request(), step_request(), step_request(attempt=2)
        )

    assert first.type == copy.type == types.STEP_FAILED
    failure = data_of(first)["error"]
    assert {name: failure[name] for name in expected} == expected
    assert first.data == copy.data
    assert second.type == types.STEP_COMPLETED
    assert len(stock.reserved) == 1


async def test_unknown_outcome_promises_nothing(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """An unknown outcome is answered UNKNOWN, and is settled by the next try."""
    stock.errors = [UnknownOutcomeError("LOST", "connection lost")]
    async with running(stock.participant, transport, keys):
        failed, completed = await replies_to(transport, step_request(), step_request())

    error = data_of(failed)["error"]
    assert (error["type"], error["outcomeUnknown"]) == ("UNKNOWN", True)
    assert completed.type == types.STEP_COMPLETED
    assert stock.reserved[0].recovered


class _Unreadable(Exception):
    def __str__(self) -> str:
        raise RuntimeError("no text")


@pytest.mark.parametrize(
    ("error", "code"),
    [
        (_Unreadable(), "INTERNAL"),
        (ValueError("\ud800"), "INTERNAL"),
        (ValueError("x" * 5_000_000), "INTERNAL"),
        (TerminalError("\ud800", "\ud800", "\ud800"), "?"),
        (TerminalError("x" * 5_000_000, ""), "x" * 1000),
        (TerminalError("", "", ""), "INTERNAL"),
        (SystemExit(3), "INTERNAL"),
        (BaseException("odd"), "INTERNAL"),
        (BaseExceptionGroup("some", [SystemExit(3)]), "INTERNAL"),
        (GeneratorExit(), "INTERNAL"),
        (asyncio.CancelledError(), "INTERRUPTED"),
        (KeyboardInterrupt(), "INTERRUPTED"),
    ],
)
@pytest.mark.parametrize("is_plain", [True, False])
async def test_whatever_a_handler_raises_costs_its_step_only(
    transport: MemoryTransport,
    keys: MemoryKeyStore,
    error: BaseException,
    code: str,
    is_plain: bool,
) -> None:
    """It is a failure that can be sent, and the participant goes on."""
    participant = Participant("odd")

    def plain() -> None:
        raise error

    async def awaiting() -> None:
        await asyncio.sleep(0)
        raise error

    def count() -> None:
        pass

    participant.step("inventory-service", "reserve")(plain if is_plain else awaiting)
    participant.step("inventory-service", "count")(count)
    async with running(participant, transport, keys):
        failed, completed = await replies_to(
            transport, step_request(), step_request(operation="count", workflow_id="wf-2")
        )

    error_data = data_of(failed)["error"]
    assert error_data["code"][:1000] == code
    assert error_data["type"]
    assert completed.type == types.STEP_COMPLETED


def test_ctrl_c_ends_a_participant_that_leaves_signals_to_python() -> None:
    """There KeyboardInterrupt is the signal. The step has its claim, so it is begun again."""
    participant = Participant("interrupted")

    @participant.step("inventory-service", "reserve")
    def reserve() -> None:  # pyright: ignore[reportUnusedFunction]
        signal.raise_signal(signal.SIGINT)

    request = read_request(Taken(step_request(), 0, 0), participant)
    request.records = {request.key: KeyRecord(claimed=1)}

    # Other tests of this process may have left another handler.
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    try:
        with pytest.raises(KeyboardInterrupt):
            run(request)
    finally:
        signal.signal(signal.SIGINT, before or signal.SIG_DFL)

    assert request.records[request.key] == KeyRecord(claimed=1)


@pytest.mark.parametrize(
    ("error", "type", "outcome_unknown"),
    [
        (TimeoutError("30 s"), "TIMEOUT", True),
        (TimeoutError(), "TIMEOUT", True),
        (ConnectionResetError("by peer"), "SERVICE_UNAVAILABLE", True),
        (BrokenPipeError(), "SERVICE_UNAVAILABLE", True),
        (ConnectionError("lost"), "SERVICE_UNAVAILABLE", True),
        (ConnectionRefusedError(), "SERVICE_UNAVAILABLE", False),
    ],
)
async def test_connections_that_break_are_tried_again(
    stock: Stock,
    transport: MemoryTransport,
    keys: MemoryKeyStore,
    error: Exception,
    type: str,
    outcome_unknown: bool,
) -> None:
    """S-003-21: they have types of their own. Only a connection that was never made promises anything."""
    stock.errors = [error]
    async with running(stock.participant, transport, keys):
        failed, completed = await replies_to(transport, step_request(), step_request(attempt=2))

    failure = data_of(failed)["error"]
    assert (failure["code"], failure["type"], failure["retryable"]) == (type, type, True)
    assert failure.get("outcomeUnknown", False) is outcome_unknown
    assert completed.type == types.STEP_COMPLETED
    assert stock.reserved[0].recovered is outcome_unknown


@pytest.mark.parametrize(
    ("later", "performed"), [(None, True), (TerminalError("NO", "refused"), False)]
)
async def test_a_seal_settles_an_unknown_outcome(
    stock: Stock,
    transport: MemoryTransport,
    keys: MemoryKeyStore,
    later: Exception | None,
    performed: bool,
) -> None:
    """No attempt may follow, so the seal runs the handler again with the input of the attempt."""
    stock.errors = [TimeoutError(), *([later] if later else [])]
    async with running(stock.participant, transport, keys):
        _, sealed, last = await replies_to(
            transport, step_request(input={"sku": "a"}), seal_request(), step_request(attempt=2)
        )

    assert data_of(sealed)["performed"] is performed
    assert [context.attempt for context in stock.reserved] == [1] * performed
    assert last.type == (types.STEP_COMPLETED if performed else types.STEP_FAILED)


@pytest.mark.parametrize(
    "again", [TimeoutError(), ConnectionRefusedError(), RetryableError("BUSY", ""), KeyError("bug")]
)
async def test_a_seal_waits_while_the_outcome_stays_unknown(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore, again: Exception
) -> None:
    """What could not be done now says nothing about the attempt before: the engine asks again."""
    stock.errors = [TimeoutError(), again]
    async with running(stock.participant, transport, keys):
        await replies_to(transport, step_request())
        await transport.request(seal_request())
        [sealed] = await replies_to(transport, seal_request())

    assert (sealed.type, data_of(sealed)["performed"]) == (types.STEP_SEALED, True)
    assert len(transport.replies) == 2


async def test_an_attempt_that_did_nothing_settles_no_earlier_one(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """After a time-out and a refused connection the effect may be there, and a seal finds it.

    A copy of the first attempt that comes behind the second must not promise anything either.
    """
    stock.errors = [TimeoutError(), ConnectionRefusedError()]
    async with running(stock.participant, transport, keys):
        _, refused, copy, late_copy, sealed = await replies_to(
            transport,
            step_request(),
            step_request(attempt=2),
            step_request(attempt=2),
            step_request(),
            seal_request(),
        )

    assert refused.data == copy.data
    assert "outcomeUnknown" not in data_of(refused)["error"]
    assert data_of(late_copy)["attempt"] == 1
    assert data_of(late_copy)["error"]["type"] == "UNKNOWN"
    assert (data_of(sealed)["performed"], data_of(sealed)["attempt"]) == (True, 1)
    # The second attempt did nothing and never will, so what the seal runs again is the first.
    assert [(context.recovered, context.attempt) for context in stock.reserved] == [(True, 1)]


@pytest.mark.parametrize("again", [ConnectionRefusedError(), RetryableError("BUSY", "")])
async def test_a_copy_that_does_nothing_does_not_settle_its_attempt(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore, again: Exception
) -> None:
    """The first run of the attempt may have had its effect: "it did nothing" would be a false promise (rule 3)."""
    stock.errors = [TimeoutError(), again]
    async with running(stock.participant, transport, keys):
        _, refused, completed = await replies_to(
            transport, step_request(), step_request(), step_request()
        )

    assert refused.type == types.STEP_FAILED
    assert data_of(refused)["error"]["outcomeUnknown"] is True
    assert completed.type == types.STEP_COMPLETED


class Reservation(BaseModel):
    """The input of a later release, which knows more about an order than the one before."""

    warehouse: str


def reserve_from(reservation: Reservation) -> None:
    del reservation


@pytest.mark.parametrize(
    ("operation", "code"), [("reserve", "INVALID_INPUT"), ("hold", "UNKNOWN_OPERATION")]
)
async def test_a_request_that_a_new_release_cannot_handle_settles_nothing(
    stock: Stock, keys: MemoryKeyStore, operation: str, code: str
) -> None:
    """The old release may have performed it. That this one cannot even call its handler says nothing about that."""
    stock.errors = [TimeoutError()]
    before, after, restored = MemoryTransport(), MemoryTransport(), MemoryTransport()
    release = Participant("inventory")
    release.step("inventory-service", operation)(reserve_from)
    async with running(stock.participant, before, keys):
        await replies_to(before, step_request())
    async with running(release, after, keys):
        copy, later = await replies_to(after, step_request(), step_request(attempt=2))
    async with running(stock.participant, restored, keys):
        [sealed] = await replies_to(restored, seal_request())

    assert [data_of(reply)["error"]["code"] for reply in (copy, later)] == [code, code]
    assert data_of(copy)["error"]["outcomeUnknown"] is True
    assert data_of(sealed)["performed"] is True


@pytest.mark.parametrize(
    ("output", "code"), [("sent", "INVALID_OUTPUT"), ({"a": "x" * 500_000}, "TOO_LARGE")]
)
async def test_an_unusable_output_is_final(
    transport: MemoryTransport, keys: MemoryKeyStore, output: Any, code: str
) -> None:
    """The mail is sent once, whatever is asked; a seal finds it sent, so that it can be undone."""
    participant, sent, undone = Participant("mail"), list[int](), list[Any]()

    def mail(context: StepContext) -> Any:
        sent.append(context.attempt)
        return output

    def unmail(context: StepContext) -> Any:
        undone.append(context.step_output)
        return output

    participant.step("inventory-service", "reserve")(mail).compensation("release")(unmail)
    async with running(participant, transport, keys):
        first, copy, later, seal, undo = await replies_to(
            transport,
            step_request(),
            step_request(),
            step_request(attempt=2),
            seal_request(),
            undo_request(),
        )

    assert [first.type, copy.type, later.type] == [types.STEP_FAILED] * 3
    error = data_of(first)["error"]
    assert (error["code"], error["type"], error["retryable"]) == (code, "UNKNOWN", False)
    assert data_of(later)["error"] == error
    assert data_of(first)["performed"]
    assert (data_of(seal)["performed"], data_of(seal)["output"]) == (True, None)
    assert data_of(seal)["error"] == error
    # Nobody needs the output of an undo.
    assert undo.type == types.STEP_COMPLETED
    assert (sent, undone) == ([1], [None])


async def test_a_late_request_is_not_begun(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """A request past its deadline fails as EXPIRED, also when it comes again (rule 2)."""
    late = step_request(deadline=-timedelta(seconds=1))
    in_time = step_request(deadline=timedelta(minutes=1))
    async with running(stock.participant, transport, keys):
        first, again, second = await replies_to(
            transport, late, in_time, step_request(attempt=2, deadline=None)
        )

    assert data_of(first)["error"]["code"] == data_of(again)["error"]["code"] == "EXPIRED"
    assert (data_of(first)["error"]["type"], data_of(first)["error"]["retryable"]) == (
        "TIMEOUT",
        True,
    )
    assert second.type == types.STEP_COMPLETED
    assert len(stock.reserved) == 1


async def test_a_seal_forbids_for_ever(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """A sealed step is refused with SEALED, whatever the attempt (rule 1)."""
    async with running(stock.participant, transport, keys):
        sealed, first, second, again = await replies_to(
            transport, seal_request(), step_request(), step_request(attempt=2), seal_request()
        )

    assert sealed.type == types.STEP_SEALED
    assert data_of(sealed) == {
        "workflowId": "wf-1",
        "stepId": "reserve-inventory",
        "round": 1,
        "performed": False,
        "output": None,
        "attempt": None,
        "instance": "inv-01",
    }
    assert data_of(first)["error"]["code"] == data_of(second)["error"]["code"] == "SEALED"
    assert again.data == sealed.data
    assert stock.reserved == []


async def test_a_seal_waits_for_the_running_attempt(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """A seal that comes while the step runs is answered after it: performed, with the output."""
    stock.gate = asyncio.Event()
    async with running(stock.participant, transport, keys):
        await transport.request(step_request(), seal_request())
        await stock.begun.wait()
        stock.gate.set()
        completed, sealed = await transport.until_replied(2)

    assert completed.type == types.STEP_COMPLETED
    assert data_of(sealed)["performed"] is True
    assert data_of(sealed)["output"] == {"reservationId": "res-1"}
    assert data_of(sealed)["attempt"] == 1


async def test_one_key_at_a_time_others_beside(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """Copies wait for the running attempt, while other workflows overtake it (rule 2)."""
    stock.gate = asyncio.Event()
    async with running(stock.participant, transport, keys):
        await transport.request(step_request("slow"), step_request("slow"), step_request("slow"))
        await stock.begun.wait()
        gate, stock.gate = stock.gate, None
        [fast] = await replies_to(transport, step_request("fast"))
        gate.set()
        replies = await transport.until_replied(4)

    assert fast.key == "fast"
    assert [reply.key for reply in replies] == ["fast", "slow", "slow", "slow"]
    assert len(stock.reserved) == 2


async def test_undo_once(stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore) -> None:
    """A performed step is undone once, however often that is asked."""
    async with running(stock.participant, transport, keys):
        _, undone, copy, second = await replies_to(
            transport,
            step_request(),
            undo_request(step_output={"reservationId": "res-1"}),
            undo_request(step_output={"reservationId": "res-1"}),
            undo_request(attempt=2),
        )

    assert len(stock.released) == 1
    assert undone.type == copy.type == second.type == types.STEP_COMPLETED
    assert data_of(undone)["compensation"] is True
    assert undone.extensions["idempotencykey"] == "wf-1/reserve-inventory/1/undo"


async def test_a_failed_undo_is_tried_again(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """A failed undo says so as a compensation, and its next attempt runs."""
    async with running(stock.participant, transport, keys):
        await replies_to(transport, step_request())
        stock.errors = [RetryableError("DOWN", "later")]
        failed, done = await replies_to(transport, undo_request(), undo_request(attempt=2))

    assert (failed.type, data_of(failed)["compensation"]) == (types.STEP_FAILED, True)
    assert done.type == types.STEP_COMPLETED
    assert len(stock.released) == 1


async def test_undo_of_nothing_seals(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """The undo of a step never performed succeeds without effect, and the step stays undone."""
    async with running(stock.participant, transport, keys):
        undone, late = await replies_to(transport, undo_request(), step_request())

    assert undone.type == types.STEP_COMPLETED
    assert data_of(late)["error"]["code"] == "SEALED"
    assert (stock.reserved, stock.released) == ([], [])


async def test_undo_of_another_participants_step_always_runs(
    transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """Where the step's own key is kept elsewhere, the undo cannot be skipped."""
    called: list[StepContext] = []
    participant = Participant("billing")

    @participant.compensation("inventory-service", "release")
    def release(context: StepContext) -> None:  # pyright: ignore[reportUnusedFunction]
        called.append(context)

    async with running(participant, transport, keys):
        await replies_to(transport, undo_request())

    assert len(called) == 1


async def test_snapshots_travel(transport: MemoryTransport, keys: MemoryKeyStore) -> None:
    """A snapshot that a handler keeps is in every reply, and in the answer to a seal."""
    participant = Participant("inventory")

    @participant.step("inventory-service", "reserve")
    async def reserve() -> StepResult:  # pyright: ignore[reportUnusedFunction]
        return StepResult({"id": 1}, {"before": 5})

    async with running(participant, transport, keys):
        replies = await replies_to(transport, step_request(), step_request(), seal_request())

    assert [data_of(reply)["snapshot"] for reply in replies] == [{"before": 5}] * 3


async def test_an_unknown_operation_fails(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """A request that nobody here performs is answered, not lost."""
    async with running(stock.participant, transport, keys):
        [reply] = await replies_to(transport, step_request(operation="teleport"))

    assert data_of(reply)["error"]["code"] == "UNKNOWN_OPERATION"
    assert data_of(reply)["error"]["type"] == "VALIDATION_ERROR"


def with_key(request: Message, key: str) -> Message:
    return replace(request, extensions={**request.extensions, "idempotencykey": key})


@pytest.mark.parametrize(
    "request_",
    [
        replace(step_request(deadline=None), key=None, subject=None),
        replace(
            step_request(deadline=None), extensions={"idempotencykey": "wf-1/reserve-inventory/1"}
        ),
        with_key(step_request(deadline=None), "wf-1/reserve-inventory/item-3/1"),
        with_key(step_request(deadline=None), "wf-1/2~reserve-inventory/1"),
        with_key(step_request(deadline=None), "wf-1/reserve-inventory/1/verify"),
    ],
)
async def test_requests_name_their_step_in_one_way(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore, request_: Message
) -> None:
    """Items, continued runs and checks have keys of their own; what is left out agrees with all."""
    async with running(stock.participant, transport, keys):
        [reply] = await replies_to(transport, request_)

    assert reply.type == types.STEP_COMPLETED


@pytest.mark.parametrize(
    ("request_", "reason"),
    [
        (replace(step_request(deadline=None), extensions={}), "MISSING_ATTRIBUTE"),
        (replace(step_request(deadline=None), data=b"{"), "NOT_JSON"),
        (replace(step_request(deadline=None), data=b'{"stepId":"x"}'), "INVALID_DATA"),
        (
            replace(step_request(deadline=None), type="orchestration.step.unheard-of"),
            "UNKNOWN_TYPE",
        ),
        (replace(undo_request(), type=types.STEP_REQUESTED), "INVALID_KEY"),
        (replace(step_request(deadline=None), type=types.COMPENSATION_REQUESTED), "INVALID_KEY"),
        (replace(undo_request(), type=types.SEAL_REQUESTED), "INVALID_KEY"),
        (with_key(seal_request(), "wf-1/reserve-inventory/1/verify"), "INVALID_KEY"),
        (with_key(undo_request(), "wf-1/reserve-inventory/1/verify"), "INVALID_KEY"),
        (with_key(step_request(deadline=None), "reserve-inventory/1"), "INVALID_KEY"),
        (with_key(step_request(deadline=None), "wf-2/reserve-inventory/1"), "CONFLICTING_IDS"),
        (with_key(step_request(deadline=None), "wf-1/charge-payment/1"), "CONFLICTING_IDS"),
        (with_key(step_request(deadline=None), "wf-1/reserve-inventory/2"), "CONFLICTING_IDS"),
        (with_key(step_request(deadline=None), "wf-1/reserve-inventory/1/01"), "CONFLICTING_IDS"),
        (with_key(undo_request(), "wf-2/reserve-inventory/1/undo"), "CONFLICTING_IDS"),
        (with_key(seal_request(), "wf-1/reserve-inventory/7"), "CONFLICTING_IDS"),
        (replace(step_request(deadline=None), key="wf-2"), "CONFLICTING_IDS"),
        (replace(step_request(deadline=None), subject="wf-2"), "CONFLICTING_IDS"),
        (replace(seal_request(), subject="wf-2"), "CONFLICTING_IDS"),
        (
            replace(
                step_request(deadline=None),
                extensions={**step_request().extensions, "attempt": "2"},
            ),
            "CONFLICTING_IDS",
        ),
    ],
)
async def test_unreadable_requests_become_dead_letters(
    stock: Stock,
    transport: MemoryTransport,
    keys: MemoryKeyStore,
    request_: Message,
    reason: str,
) -> None:
    """What is no request goes to the dead-letter topic with its reason, and blocks nobody."""
    async with running(stock.participant, transport, keys):
        await transport.request(request_)
        await replies_to(transport, step_request("other"))

    [letter] = transport.dead_letters
    headers = dict(letter.headers)
    assert letter.topic == topics.DEAD_LETTER
    assert headers["dlq-reason"] == reason.encode()
    assert headers["dlq-topic"] == request_.topic.encode()
    assert headers["dlq-offset"] == b"0"
    assert letter.value == request_.data
    assert transport.unfinished == set()


async def test_a_stop_finishes_what_was_begun(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """On a stop running handlers end and are answered; later requests stay for the next process."""
    stock.gate = asyncio.Event()
    async with running(stock.participant, transport, keys) as runner:
        await transport.request(step_request())
        await stock.begun.wait()
        runner.stop()
        await transport.request(step_request("later"))
        stock.gate.set()

    assert [reply.key for reply in transport.replies] == ["wf-1"]
    assert transport.unfinished <= {1}


async def test_a_handler_beyond_the_grace_is_left_to_the_next_process(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """What does not end within the grace is not answered, and found as begun by the next process."""
    stock.gate = asyncio.Event()
    async with running(stock.participant, transport, keys, grace_seconds=0.05):
        await transport.request(step_request())
        await stock.begun.wait()

    assert transport.replies == []
    assert transport.unfinished == {0}
    stock.gate = None
    late = step_request(deadline=-timedelta(seconds=1))
    async with running(stock.participant, transport, keys):
        [reply] = await replies_to(transport, late)

    assert reply.type == types.STEP_COMPLETED
    assert stock.reserved[0].recovered


async def test_a_lost_claim_that_must_not_run_again(
    transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """With on_lost_claim="refuse" the step is answered UNKNOWN and is not run."""
    called: list[int] = []
    participant = Participant("inventory")

    @participant.step("inventory-service", "reserve", on_lost_claim="refuse")
    def reserve() -> None:  # pyright: ignore[reportUnusedFunction]
        called.append(1)

    await keys.open({"wf-1/reserve-inventory/1": 1})
    await keys.close()
    async with running(participant, transport, keys):
        first, second = await replies_to(transport, step_request(), step_request(attempt=2))

    assert data_of(first)["error"] == data_of(second)["error"]
    assert (data_of(first)["error"]["code"], data_of(first)["error"]["type"]) == (
        "LOST_CLAIM",
        "UNKNOWN",
    )
    assert called == []


async def test_a_key_held_elsewhere_is_waited_for(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """A key that another process holds is opened again and again; its answer is then ours."""
    key = "wf-1/reserve-inventory/1"
    await keys.open({key: 1})
    async with running(stock.participant, transport, keys):
        await transport.request(step_request(), undo_request("wf-1"))
        await replies_to(transport, step_request("other"))
        await keys.save({key: KeyRecord()})
        await transport.until_replied(3)

    assert len(stock.reserved) == 2
    assert len(stock.released) == 1


class Unsteady(MemoryTransport):
    """Every call fails the first time, `finish` after having written."""

    def __init__(self) -> None:
        super().__init__()
        self.calls = 0

    def stumble(self) -> None:
        self.calls += 1
        if self.calls % 2:
            raise ServerUnavailableError("kafka", "not now")

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        self.stumble()
        return await super().take(limit, 0.01)

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        await super().finish(done, replies)
        self.stumble()


class UnsteadyKeys(MemoryKeyStore):
    """Every save is done, and every third one answered with an error."""

    def __init__(self) -> None:
        super().__init__()
        self.saves = 0

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        self.saves += 1
        lost = await super().save(records)
        if self.saves % 3 == 1:
            raise ServerUnavailableError("redis", "not now")
        return lost


async def test_servers_that_stumble(stock: Stock) -> None:
    """Calls are repeated until they succeed: every request is answered, performed once."""
    transport = Unsteady()
    async with running(stock.participant, transport, UnsteadyKeys()):
        await transport.request(*[step_request(f"wf-{n}") for n in range(20)])
        async with asyncio.timeout(30):
            while len({reply.id for reply in transport.replies}) < 20:
                await transport.until_replied(len(transport.replies) + 1)

    assert len(stock.reserved) == 20
    assert all(reply.type == types.STEP_COMPLETED for reply in transport.replies)


async def test_a_stop_ends_the_tries_to_start(stock: Stock, keys: MemoryKeyStore) -> None:
    """A process whose server never was there can be stopped all the same."""
    tried = asyncio.Event()

    class Away(MemoryTransport):
        async def start(self, participant: str, services: Sequence[str]) -> None:
            del participant, services
            tried.set()
            raise ServerUnavailableError("kafka", "not there")

    stop = asyncio.Event()
    runner = ParticipantRunner(stock.participant, Away(), keys)
    async with asyncio.timeout(5):
        running = asyncio.create_task(runner.run_until(stop))
        await tried.wait()
        stop.set()
        await running

    assert running.done()


class TakenOver(MemoryKeyStore):
    """Another process takes the keys over, and performs, before this one can save."""

    def __init__(self) -> None:
        super().__init__()
        self.is_taken_over = False

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        if self.is_taken_over:
            return await super().save(records)
        self.is_taken_over = True
        await super().save({key: performed(1, b'{"by":"other"}') for key in records})
        return frozenset(records)


async def test_a_result_of_a_lost_key_is_not_sent(stock: Stock, transport: MemoryTransport) -> None:
    """Who lost its key answers with what the new holder recorded, never with its own result."""
    async with running(stock.participant, transport, TakenOver()):
        [reply] = await replies_to(transport, step_request())

    assert data_of(reply)["output"] == {"by": "other"}
    assert transport.unfinished == set()


async def test_in_flight_is_bounded(
    stock: Stock, transport: MemoryTransport, keys: MemoryKeyStore
) -> None:
    """No more requests are taken than allowed; the rest follows when there is room."""
    stock.gate = asyncio.Event()
    async with running(stock.participant, transport, keys, max_in_flight=3):
        await transport.request(*[step_request(f"wf-{n}") for n in range(10)])
        await stock.begun.wait()
        await asyncio.sleep(0)
        assert len(transport.unfinished) <= 3
        stock.gate.set()
        await transport.until_replied(10)

    assert len(stock.reserved) == 10


async def test_a_defect_stops_the_runner(stock: Stock, transport: MemoryTransport) -> None:
    """A bug in a store is not swallowed: the runner ends with it, unanswered requests remain."""

    class Broken(MemoryKeyStore):
        async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
            raise KeyError("bug")

    await transport.request(step_request())
    with pytest.raises(ExceptionGroup) as stopped:
        await ParticipantRunner(stock.participant, transport, Broken()).run()

    assert stopped.group_contains(KeyError)
    assert transport.unfinished == {0}

"""The memory of an idempotency key: every state against every request, then random histories."""

from __future__ import annotations

import pytest
from conveyor.keys import (
    EXPIRED,
    Action,
    Failure,
    KeyRecord,
    KeyState,
    abandoned,
    dumps,
    failed,
    loads,
    on_request,
    on_seal,
    on_undo,
    performed,
    unknown,
)
from conveyor.values import replace
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, invariant, precondition, rule

OUT_OF_STOCK = Failure("OUT_OF_STOCK", "none left", "BUSINESS_RULE_VIOLATION", retryable=False)
NOTHING = KeyRecord()
DONE = performed(2, b'{"id":1}', snapshot=b'{"was":0}', execution_time_ms=12)
FAILED_TWICE = failed(2, OUT_OF_STOCK)
SEALED = KeyRecord(state=KeyState.SEALED)

records = st.one_of(
    st.just(NOTHING),
    st.just(SEALED),
    st.builds(
        performed,
        st.integers(1, 9),
        st.just(b'{"a":[1,{"b":null}]}'),
        snapshot=st.none() | st.just(b'{"s":1}'),
        execution_time_ms=st.integers(0, 10_000),
    ),
    st.builds(
        failed,
        st.integers(1, 9),
        st.builds(Failure, st.text(), st.text(), st.text(), st.booleans()),
    ),
)


@pytest.mark.parametrize("attempt", [1, 2, 3])
@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("claimed", [0, 2])
@pytest.mark.parametrize("record", [DONE, SEALED])
def test_final_states_answer_every_request(
    record: KeyRecord, attempt: int, claimed: int, expired: bool
) -> None:
    """Performed and sealed answer any attempt from the record, late or not (rules 2 and 3)."""
    record = replace(record, claimed=claimed)

    decision = on_request(record, attempt, expired=expired, on_lost_claim="run")

    assert decision == (Action.ANSWER, record)


@pytest.mark.parametrize(
    ("record", "attempt", "expired", "action"),
    [
        (NOTHING, 1, False, Action.RUN),
        (FAILED_TWICE, 1, False, Action.ANSWER),
        (FAILED_TWICE, 2, False, Action.ANSWER),
        (FAILED_TWICE, 2, True, Action.ANSWER),
        (FAILED_TWICE, 3, False, Action.RUN),
        (replace(FAILED_TWICE, claimed=1), 2, True, Action.ANSWER),
        (replace(FAILED_TWICE, claimed=1), 1, True, Action.ANSWER_UNKNOWN),
        (replace(FAILED_TWICE, claimed=3), 2, True, Action.ANSWER_UNKNOWN),
        (replace(FAILED_TWICE, claimed=3), 3, True, Action.RUN),
        (replace(NOTHING, claimed=1), 1, False, Action.RUN),
        (replace(NOTHING, claimed=1), 1, True, Action.RUN),
        (replace(NOTHING, claimed=1), 2, True, Action.RUN),
    ],
)
def test_open_states(record: KeyRecord, attempt: int, expired: bool, action: Action) -> None:
    """Only an attempt above the highest failed one runs; a begun one runs again even when late.

    A failure after a claim says nothing about the attempts up to the claim (rule 3).
    """
    decision = on_request(record, attempt, expired=expired, on_lost_claim="run")

    assert decision == (action, record)


@pytest.mark.parametrize("record", [NOTHING, FAILED_TWICE])
def test_expired_is_recorded_as_a_failure(record: KeyRecord) -> None:
    """What comes too late is not begun, and that attempt never will be (rule 2)."""
    decision = on_request(record, 3, expired=True, on_lost_claim="run")

    assert decision == (Action.ANSWER, failed(3, EXPIRED))
    assert on_request(decision.record, 3, expired=False, on_lost_claim="run").action is (
        Action.ANSWER
    )


@pytest.mark.parametrize(
    ("record", "attempt", "claimed"),
    [
        (NOTHING, 1, 1),
        (FAILED_TWICE, 1, 0),
        (FAILED_TWICE, 2, 0),
        (FAILED_TWICE, 3, 3),
        (replace(FAILED_TWICE, claimed=1), 2, 1),
        (replace(NOTHING, claimed=3), 2, 3),
        (SEALED, 1, 0),
        (DONE, 3, 0),
    ],
)
def test_a_dead_holder_began_nothing_that_had_ended(
    record: KeyRecord, attempt: int, claimed: int
) -> None:
    """It died repeating a reply.

    Else a seal would run an attempt of which the engine knows that it never will be performed (rule 3),
    a seal of what is sealed would be withheld for ever, and its undo would be run.
    """
    assert abandoned(record, attempt) == replace(record, claimed=claimed)


@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("attempt", [1, 2])
def test_a_lost_claim_may_be_refused(attempt: int, expired: bool) -> None:
    """With on_lost_claim="refuse" nobody runs it again, and nothing is promised."""
    record = replace(NOTHING, claimed=1)

    decision = on_request(record, attempt, expired=expired, on_lost_claim="refuse")

    assert decision == (Action.ANSWER_UNKNOWN, record)


@pytest.mark.parametrize(
    ("record", "action", "state"),
    [
        (NOTHING, Action.ANSWER, KeyState.SEALED),
        (FAILED_TWICE, Action.ANSWER, KeyState.SEALED),
        (SEALED, Action.ANSWER, KeyState.SEALED),
        (replace(SEALED, claimed=1), Action.ANSWER, KeyState.SEALED),
        (DONE, Action.ANSWER, KeyState.PERFORMED),
        (replace(NOTHING, claimed=1), Action.WITHHOLD, KeyState.NONE),
        (replace(FAILED_TWICE, claimed=3), Action.WITHHOLD, KeyState.FAILED),
    ],
)
def test_seal(record: KeyRecord, action: Action, state: KeyState) -> None:
    """A seal answers what is certain, and makes it final (rule 1)."""
    decision = on_seal(record)

    assert (decision.action, decision.record.state) == (action, state)


@pytest.mark.parametrize("expired", [False, True])
@pytest.mark.parametrize("forward", [NOTHING, FAILED_TWICE, SEALED])
def test_undo_of_what_was_never_performed(forward: KeyRecord, expired: bool) -> None:
    """Nothing to undo: a success without effect, after which nothing can be performed."""
    decision = on_undo(NOTHING, forward, 1, expired=expired, on_lost_claim="run", known_done=False)

    assert decision.action is Action.ANSWER
    assert decision.record.state is KeyState.PERFORMED
    assert decision.forward.state is KeyState.SEALED


@pytest.mark.parametrize(
    ("undo", "forward", "known_done", "action"),
    [
        (NOTHING, DONE, True, Action.RUN),
        (NOTHING, DONE, False, Action.RUN),
        (NOTHING, NOTHING, True, Action.RUN),
        (NOTHING, replace(NOTHING, claimed=1), False, Action.RUN),
        (failed(1, OUT_OF_STOCK), SEALED, False, Action.RUN),
        (replace(NOTHING, claimed=1), SEALED, False, Action.RUN),
        (failed(2, OUT_OF_STOCK), SEALED, False, Action.ANSWER),
        (DONE, DONE, True, Action.ANSWER),
    ],
)
def test_undo_runs_whenever_there_may_be_something(
    undo: KeyRecord, forward: KeyRecord, known_done: bool, action: Action
) -> None:
    """An undo is run unless it is done, refused, or certainly needless; once begun it is finished."""
    decision = on_undo(undo, forward, 2, expired=False, on_lost_claim="run", known_done=known_done)

    assert decision.action is action
    assert decision.forward.state in (KeyState.PERFORMED, KeyState.SEALED)
    assert not decision.forward.claimed


@given(records, st.integers(0, 9))
def test_codec(record: KeyRecord, claimed: int) -> None:
    """A stored record comes back as it was."""
    record = replace(record, claimed=claimed, request=b'{"attempt":1}' if claimed else None)

    assert loads(dumps(record)) == record


def test_a_seal_repeats_what_ended_unknown() -> None:
    """Only where the handler may be run again, and where the request is known."""
    unresolved = unknown(NOTHING, 1, b"{}")

    assert on_seal(unresolved, "run") == (Action.RUN, unresolved)
    assert on_seal(unresolved, "refuse") == (Action.WITHHOLD, unresolved)
    assert on_seal(unknown(NOTHING, 1), "run").action is Action.WITHHOLD
    assert on_seal(SEALED, "run").action is Action.ANSWER


class OneKey(RuleBasedStateMachine):
    """One key under duplicated, late and reordered requests, crashes at any point and seals.

    The handler is idempotent by the key, as its contract says; the model counts what it really did.
    """

    def __init__(self) -> None:
        super().__init__()
        self.record = NOTHING
        self.running: int | None = None
        #: The attempt that had the effect.
        self.effect: int | None = None
        self.sealed = False
        self.promised: set[int] = set()

    @precondition(lambda self: self.running is None)
    @rule(attempt=st.integers(1, 4), expired=st.booleans())
    def request(self, attempt: int, expired: bool) -> None:
        action, self.record = on_request(self.record, attempt, expired=expired, on_lost_claim="run")
        if action is Action.RUN:
            assert attempt not in self.promised
            assert not self.sealed
            self.running = attempt
        elif action is Action.ANSWER:
            self.check_answer(attempt)

    @precondition(lambda self: self.running is not None)
    @rule()
    def busy(self) -> None:
        """The handler did nothing and knows nothing of an earlier attempt, as when a connection is refused."""
        assert self.running is not None
        attempt, self.running = self.running, None
        claimed = self.record.claimed
        if claimed >= attempt:
            return
        self.record = failed(attempt, OUT_OF_STOCK)
        if claimed:
            self.record = unknown(self.record, claimed)
        self.check_answer(attempt)

    @precondition(lambda self: self.running is not None)
    @rule(outcome=st.sampled_from(["success", "failure", "unknown", "unknown-done"]))
    def end(self, outcome: str) -> None:
        assert self.running is not None
        attempt, self.running = self.running, None
        if self.effect is not None or outcome == "success":
            self.effect = self.effect or attempt
            self.record = performed(attempt, b"{}")
            self.check_answer(attempt)
        elif outcome == "failure":
            self.record = failed(attempt, OUT_OF_STOCK)
            self.check_answer(attempt)
        else:
            self.effect = attempt if outcome == "unknown-done" else None
            self.record = unknown(self.record, max(attempt, self.record.claimed))

    @precondition(lambda self: self.running is not None)
    @rule(done=st.booleans())
    def crash(self, done: bool) -> None:
        assert self.running is not None
        if done and self.effect is None:
            self.effect = self.running
        self.record = abandoned(self.record, self.running)
        self.running = None

    @precondition(lambda self: self.running is None)
    @rule(attempt=st.integers(1, 4))
    def crash_with_an_answer(self, attempt: int) -> None:
        """A process dies with the key held for a request that it would only have answered."""
        if (
            on_request(self.record, attempt, expired=False, on_lost_claim="run").action
            is Action.RUN
        ):
            return
        before, self.record = self.record, abandoned(self.record, attempt)
        assert self.record == before

    @precondition(lambda self: self.running is None)
    @rule()
    def seal(self) -> None:
        action, self.record = on_seal(self.record)
        if action is Action.WITHHOLD:
            assert not self.sealed
            return
        if self.record.state is KeyState.PERFORMED:
            assert self.effect is not None
        else:
            assert self.effect is None
            self.sealed = True

    def check_answer(self, attempt: int) -> None:
        match self.record.state:
            case KeyState.PERFORMED:
                assert self.effect is not None
            case KeyState.SEALED:
                assert self.sealed
            case KeyState.FAILED:
                assert self.record.claimed < attempt <= self.record.attempt
                self.promised.update(range(self.record.claimed + 1, attempt + 1))
            case KeyState.NONE:
                raise AssertionError("an answer without knowledge")

    @invariant()
    def a_promise_holds(self) -> None:
        assert self.effect not in self.promised

    @invariant()
    def a_seal_holds(self) -> None:
        assert not self.sealed or self.effect is None


TestOneKey = OneKey.TestCase
TestOneKey.settings = settings(max_examples=500, deadline=None)

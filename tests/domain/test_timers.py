"""Timers follow from the state; a firing is decided by its identity alone (PROTOCOL rule 13)."""

from __future__ import annotations

from collections.abc import Callable

import pytest

from domain.values import changed
from domain.workflow.commands import Firing, TimerKind
from domain.workflow.events import StepFailed, StepReplyIgnored
from domain.workflow.timers import next_due, timers_of
from tests.domain.definitions import chain, diamond
from tests.domain.sagas import T0, Saga

STATES: dict[str, Callable[[], Saga]] = {
    "running": lambda: Saga(diamond()).starts().after(seconds=1).succeeds("reserve"),
    "retrying": lambda: Saga(chain("reserve")).starts().unavailable("reserve"),
    "paused": lambda: Saga(diamond()).starts().succeeds("reserve").unavailable("pick").pauses(),
    "sealing": lambda: Saga(diamond()).starts().succeeds("reserve").gives_no_answer("pick"),
    "undoing": lambda: Saga(diamond()).starts().succeed("reserve", "pick").fails("charge"),
    "undo retrying": lambda: STATES["undoing"]().undo_fails("pick", "TIMEOUT"),
    "cancelled": lambda: Saga(chain("reserve")).starts().cancels(),
    "completed": lambda: Saga(chain("reserve")).starts().succeeds("reserve"),
    "compensated": lambda: STATES["undoing"]().undone("pick").undone("reserve"),
}

KINDS = {
    "running": ["workflow-timeout", "step-timeout", "step-timeout"],
    "retrying": ["workflow-timeout", "step-retry"],
    "paused": ["step-timeout"],
    "sealing": ["seal", "seal"],
    "undoing": ["undo-timeout"],
    "undo retrying": ["undo-retry"],
    "cancelled": ["seal"],
    "completed": [],
    "compensated": [],
}


@pytest.mark.parametrize("name", STATES)
def test_each_state_has_its_timers(name: str) -> None:
    """What waits for time has a timer, and the first one due is known without listing them."""
    instance = STATES[name]().instance

    timers = timers_of(instance)

    assert [timer.firing.name for timer in timers] == KINDS[name]
    assert next_due(instance) == min((timer.due_at for timer in timers), default=None)


@pytest.mark.parametrize("name", STATES)
def test_a_firing_is_decided_by_identity_not_by_the_clock(name: str) -> None:
    """A decider whose clock is behind takes a firing as due: whoever fired it knew."""
    for timer in timers_of(STATES[name]().instance):
        saga = STATES[name]()
        saga.now = T0

        saga.send(timer.firing)

        assert not isinstance(saga.events[0], StepReplyIgnored)


@pytest.mark.parametrize("name", STATES)
@pytest.mark.parametrize("kind", TimerKind)
def test_a_firing_of_another_identity_is_ignored(name: str, kind: TimerKind) -> None:
    """Attempt, round and step are part of the identity: what differs was settled before."""
    saga = STATES[name]()
    for step_id in ("reserve", "pick", "bogus", None):
        firing = Firing(name=kind, subject=step_id, number=99, round=1)

        saga.fires_again(firing).expect_ignored("settled before it fired")
        saga.fires_again(changed(firing, number=1, round=99)).expect_ignored()


def test_a_timer_that_fires_twice_acts_once() -> None:
    """The second firing finds the state without its timer."""
    saga = Saga(chain("reserve")).starts()
    firing = saga.timer(TimerKind.STEP_TIMEOUT, "reserve").firing

    saga.times_out("reserve")
    saga.fires_again(firing).expect_ignored()

    assert len(saga.all_of(StepFailed)) == 1


def test_the_time_out_of_an_old_attempt_is_ignored() -> None:
    """A reply came first, another attempt runs: the old time-out means nothing."""
    saga = Saga(chain("reserve")).starts()
    firing = saga.timer(TimerKind.STEP_TIMEOUT, "reserve").firing
    saga.unavailable("reserve").retry_is_due("reserve")

    saga.fires_again(firing).expect_ignored().expect_status("EXECUTING", reserve="EXECUTING")


def test_time_never_runs_backwards_within_an_instance() -> None:
    """A decider whose clock is behind dates its events at the newest one that it knows."""
    saga = Saga(chain("reserve", "charge")).starts().after(seconds=7).succeeds("reserve")
    newest = saga.now
    saga.now = T0

    saga.succeeds("charge")

    assert {event.occurred_at for event in saga.events} == {newest}

"""How long to wait before the next attempt."""

from __future__ import annotations

from datetime import timedelta

import pytest
from hypothesis import given
from hypothesis import strategies as st

from domain.definition.retry import LATER_DELAY_MIN_MS, PRESETS, RetryPolicy


def test_the_default_backoff_is_one_two_and_four_seconds() -> None:
    """The default delays double from a second."""
    policy = RetryPolicy.default_policy()

    assert [policy.calculate_delay(retries) for retries in range(3)] == [1000, 2000, 4000]
    assert policy == RetryPolicy(
        max_retries=3, initial_delay_ms=1000, max_delay_ms=10_000, backoff_multiplier=2.0
    )


def test_backoff_is_capped() -> None:
    """No delay is above the policy's greatest one."""
    assert RetryPolicy().calculate_delay(5) == 10_000


def test_backoff_of_a_custom_policy() -> None:
    """calculateDelay(n) = min(max, initial x multiplier^n), exactly."""
    policy = RetryPolicy(
        max_retries=5, initial_delay_ms=2000, max_delay_ms=30_000, backoff_multiplier=3.0
    )

    assert policy.calculate_delay(2) == 18_000
    assert policy.calculate_delay(3) == 30_000


def test_without_backoff_the_delay_is_constant() -> None:
    """`exponentialBackoff` false leaves the first delay, still under the cap."""
    constant = RetryPolicy(exponential_backoff=False)
    capped = RetryPolicy(exponential_backoff=False, initial_delay_ms=20_000)

    assert {constant.calculate_delay(retries) for retries in range(10)} == {1000}
    assert capped.calculate_delay(0) == 10_000


@pytest.mark.parametrize(
    ("name", "retries", "initial_ms", "max_ms"),
    [("default", 3, 1000, 10_000), ("aggressive", 5, 200, 5000), ("conservative", 2, 5000, 30_000)],
)
def test_presets(name: str, retries: int, initial_ms: int, max_ms: int) -> None:
    """A policy's name stands for its figures."""
    policy = PRESETS[name]

    assert (policy.max_retries, policy.initial_delay_ms, policy.max_delay_ms) == (
        retries,
        initial_ms,
        max_ms,
    )


def test_retries_left() -> None:
    """With three retries there is one left after two and none after three."""
    policy = RetryPolicy(max_retries=3)

    assert policy.has_retries_left(2)
    assert not policy.has_retries_left(3)


def test_jitter_stays_in_its_band_and_differs() -> None:
    """With jitter 0.2 a hundred delays differ, within a fifth around the exact one."""
    policy = RetryPolicy(jitter=0.2)

    delays = [policy.delay(0, f"wf-{n}/pick/1", 1) for n in range(100)]

    assert len(set(delays)) > 50
    assert all(
        timedelta(milliseconds=800) <= delay <= timedelta(milliseconds=1200) for delay in delays
    )


def test_jitter_is_the_same_in_replay() -> None:
    """The same key and attempt draw the same jitter, another attempt another one."""
    policy = RetryPolicy(jitter=1.0)

    assert policy.delay(0, "wf-1/pick/1", 1) == policy.delay(0, "wf-1/pick/1", 1)
    assert policy.delay(0, "wf-1/pick/1", 1) != policy.delay(0, "wf-1/pick/1", 2)


@given(
    initial_ms=st.integers(0, 10**6),
    max_ms=st.integers(0, 10**7),
    multiplier=st.floats(1.0, 1e300),
    jitter=st.floats(0.0, 1.0),
    retries=st.integers(0, 10**6),
)
def test_every_policy_has_a_delay(
    initial_ms: int, max_ms: int, multiplier: float, jitter: float, retries: int
) -> None:
    """No number of retries breaks the power: delays never shrink and never pass the cap."""
    policy = RetryPolicy(
        initial_delay_ms=initial_ms,
        max_delay_ms=max_ms,
        backoff_multiplier=multiplier,
        jitter=jitter,
    )

    delay = policy.calculate_delay(retries)

    assert 0 <= policy.calculate_delay(max(0, retries - 1)) <= delay <= max_ms
    longest = max(2 * delay + 1, LATER_DELAY_MIN_MS)
    assert timedelta(0) <= policy.delay(retries, "key", 1) <= timedelta(milliseconds=longest)


def test_later_retries_have_a_floor() -> None:
    """A policy of one millisecond makes three quick retries; from the fourth on a second lies between them."""
    policy = RetryPolicy(initial_delay_ms=1, max_delay_ms=1, jitter=1.0)

    seconds = [policy.delay(retries, "key", 1).total_seconds() for retries in range(6)]

    assert max(seconds[:3]) <= 0.002
    assert seconds[3:] == [1, 1, 1]


def test_no_initial_delay_stays_none() -> None:
    """A policy that begins at zero never waits, however often it retried."""
    assert RetryPolicy(initial_delay_ms=0).calculate_delay(5000) == 0

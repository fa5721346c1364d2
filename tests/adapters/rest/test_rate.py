"""The limit of requests a second: for each caller alone, and only where it is set."""

from __future__ import annotations

from dataclasses import replace

import pytest

from adapters.rest.app import create_app
from adapters.rest.problems import Problem
from adapters.rest.rate import RateLimit
from tests.adapters.rest.service import Service, client_of


class Time:
    now = 100.0

    def __call__(self) -> float:
        return self.now


def admitted(limit: RateLimit, actor: str, tries: int) -> int:
    """How many of these requests get through."""
    refusals: list[tuple[int, str]] = []
    for _ in range(tries):
        try:
            limit.admit(actor)
        except Problem as refused:
            refusals.append((refused.status, refused.code))
    assert set(refusals) <= {(429, "RATE_LIMITED")}
    return tries - len(refusals)


def test_each_caller_has_its_own_share() -> None:
    """A burst of a second's requests, then the average; the others notice nothing."""
    time = Time()
    limit = RateLimit(10, time)

    assert admitted(limit, "ada", 25) == 10
    assert admitted(limit, "bob", 5) == 5
    time.now += 0.5
    assert admitted(limit, "ada", 25) == 5
    time.now += 3600
    assert admitted(limit, "ada", 25) == 10


def test_no_limit() -> None:
    """0 is none."""
    assert admitted(RateLimit(0, Time()), "ada", 1000) == 1000


def test_callers_are_forgotten(monkeypatch: pytest.MonkeyPatch) -> None:
    """Those who have sent nothing for a while; those at their limit are not."""
    monkeypatch.setattr("adapters.rest.rate._CALLERS_MAX", 3)
    time = Time()
    limit = RateLimit(2, time)
    for actor in ("a", "b"):
        limit.admit(actor)
    time.now += 10
    assert admitted(limit, "busy", 5) == 2
    limit.admit("c")

    assert limit._buckets.keys() == {"busy", "c"}
    assert admitted(limit, "busy", 5) == 0


async def test_a_request_too_many(undecided: Service) -> None:
    """The problem says when to try again; health is always answered."""
    app = create_app(replace(undecided.api, rate=RateLimit(2, Time())))
    async with client_of(app) as client:
        codes = [(await client.get("/api/v1/workflows")).status_code for _ in range(3)]
        refused = await client.get("/api/v1/workflows")
        health = await client.get("/health/live")

    assert codes == [200, 200, 429]
    assert refused.json()["code"] == "RATE_LIMITED"
    assert refused.headers["retry-after"] == "1"
    assert health.status_code == 200

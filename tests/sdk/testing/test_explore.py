"""Seeded faults for a user's saga: what is planted is found, shrunk, and repeated by its printed line."""

from __future__ import annotations

import asyncio
import re
from collections import Counter
from typing import Any

import pytest
from conveyor.errors import TerminalError
from conveyor.handlers import StepContext
from conveyor.participant import Participant
from conveyor.testing import Conveyor, Run, SagaFault
from conveyor.testing.faults import Kind, Target, plan

from tests.documents import document, step
from tests.sdk.testing.hotel import DEFINITION, Town

TRIP = {"guest": "Ada", "nights": 2, "flight": True}
TARGETS = [
    Target(f"trip-1/{step}/1", 5.0, may_be_refused=step != "last", may_be_lost=True)
    for step in ("first", "second", "last")
]


async def repeated(found: SagaFault, names: dict[str, Any]) -> SagaFault:
    """What the printed line finds."""
    match = re.search(r"Repeat it: (?:await )?(c\.explore\(.*\))", str(found))
    assert match is not None
    with pytest.raises(SagaFault) as again:
        await eval(match[1], names)  # noqa: S307 - the line is meant to be pasted
    return again.value


def booked(town: Town) -> Any:
    """The user's own look at his world."""

    def check(run: Run) -> None:
        if run.status == "COMPENSATED":
            assert (town.rooms, town.flights, town.payments) == ({}, set(), {})
        else:
            assert run.status == "COMPLETED"
            assert (len(town.rooms), len(town.flights), len(town.payments)) == (1, 1, 1)

    return check


async def test_a_sound_saga_stands_every_fault() -> None:
    """Nothing is found, and the faults were there: both ways were walked."""
    town, ends = Town(), Counter[str]()
    look = booked(town)

    def check(run: Run) -> None:
        ends[run.status] += 1
        look(run)

    async with Conveyor(*town.participants, definitions=[DEFINITION]) as c:
        await c.explore("hotel-booking", TRIP, runs=100, check=check, reset=town.forget)

    assert ends.keys() == {"COMPLETED", "COMPENSATED"}
    assert min(ends.values()) > 20


async def test_a_planted_double_effect() -> None:
    """A payment that is made again when its record was lost."""
    town = Town()
    town.payment = payment = Participant("payment")

    @payment.step("payment", "charge")
    def charge(context: StepContext) -> dict[str, Any]:
        number = len(town.payments) + 1
        town.payments[f"{context.idempotency_key} {number}"] = f"payment-{number}"
        return {"payment": f"payment-{number}"}

    async with Conveyor(*town.participants, definitions=[DEFINITION]) as c:
        with pytest.raises(SagaFault) as found:
            await c.explore("hotel-booking", TRIP, runs=500, reset=town.forget)

        again = await repeated(found.value, {"c": c, "forget": town.forget, "town": town})

    assert found.value.kind == "double effect"
    assert (
        'payment.charge did its effect twice for key hotel-booking-1/charge/1: first {"payment":"payment-1"},'
        ' then {"payment":"payment-2"}' in str(found.value)
    )
    assert len(found.value.faults) == 1
    assert str(again) == str(found.value)


async def test_a_planted_missing_undo() -> None:
    """A room whose repetition is refused, as by a unique index: the engine believes that nothing was done."""
    town = Town()
    town.hotel = hotel = Participant("hotel")
    whole = Town().hotel

    @hotel.step("hotel", "reserve")
    def reserve(request: dict[str, Any], context: StepContext) -> dict[str, Any]:
        if context.idempotency_key in town.rooms:
            raise TerminalError("DUPLICATE", "there is such a booking already")
        town.rooms[context.idempotency_key] = 1
        return {"room": 1}

    @reserve.compensation("release")
    def release(context: StepContext) -> None:
        town.rooms.clear()

    for name in ("is-free", "confirm"):
        hotel.steps["hotel", name] = whole.steps["hotel", name]

    async with Conveyor(*town.participants, definitions=[DEFINITION]) as c:
        with pytest.raises(SagaFault) as found:
            await c.explore("hotel-booking", TRIP, runs=500, reset=town.forget)

        again = await repeated(found.value, {"c": c, "town": town})

    assert found.value.kind == "missing undo"
    assert "failed with DUPLICATE, which says that nothing was done" in str(found.value)
    assert str(again) == str(found.value)


async def test_a_check_of_the_users_own_world() -> None:
    """An undo that does nothing is seen by nobody else; the message is that of the assertion."""
    town = Town()
    town.airline.compensations["airline", "cancel"] = town.payment.steps["payment", "charge"]
    check = booked(town)

    async with Conveyor(*town.participants, definitions=[DEFINITION]) as c:
        await c.run("hotel-booking", TRIP)
        with pytest.raises(SagaFault) as found:
            await c.explore(runs=50, check=check, reset=town.forget)

        again = await repeated(found.value, {"c": c, "check": check, "town": town})

    assert found.value.kind == "assertion"
    assert isinstance(found.value.__cause__, AssertionError)
    assert str(again) == str(found.value)


async def test_async_checks_and_resets() -> None:
    """Both may wait for something."""
    town, seen = Town(), list[str]()

    async def check(run: Run) -> None:
        await asyncio.sleep(0)
        seen.append(run.status)

    async def reset() -> None:
        await asyncio.sleep(0)
        town.forget()

    async with Conveyor(*town.participants, definitions=[DEFINITION]) as c:
        await c.explore("hotel-booking", TRIP, runs=2, check=check, reset=reset)

    assert len(seen) == 3


async def test_a_saga_that_is_wrong_by_itself() -> None:
    """No fault is needed, and none is named."""
    async with Conveyor(definitions=[document(step("only", service="shop"))]) as c:
        c.service("shop").answers("do")

        def check(run: Run) -> None:
            assert run.status == "COMPENSATED", "it is not undone"

        with pytest.raises(SagaFault, match=r"(?s)it is not undone.*none: it goes wrong by itself"):
            await c.explore("order", runs=3, check=check)


async def test_stubs_count_for_each_run() -> None:
    """One that fails twice does so in every run."""
    async with Conveyor(definitions=[document(step("only", service="shop"))]) as c:
        c.service("shop").fails("do", times=2, retryable=True).answers("do").answers("undo")
        run = await c.run("order")
        statuses = list[int]()
        await c.explore(
            runs=5, faults=(), check=lambda run: statuses.append(run.step("only").attempts)
        )

        assert run.step("only").attempts == 3
        assert statuses == [3] * 6
        # What was asked in the test itself stays.
        assert len(c.service("shop").requests) == 3


def test_a_plain_test_explores_as_well() -> None:
    """Its line has no `await`."""
    with Conveyor(definitions=[document(step("only", service="shop"))]) as c:
        numbers = iter(range(1000))
        c.service("shop").answers("do", lambda _: {"number": next(numbers)}).answers("undo")

        with pytest.raises(
            SagaFault, match=r"Repeat it: c\.explore\('order', \{\}, seed=\d+"
        ) as found:
            c.explore("order", runs=100)

    assert found.value.kind == "double effect"


def test_a_seed_gives_one_plan() -> None:
    """And seeds that follow each other let each step fail for good in turn."""
    assert plan(7, TARGETS) == plan(7, TARGETS)
    plans = [plan(seed, TARGETS) for seed in range(300)]

    refused = [next((f.key for f in each if f.kind is Kind.REFUSED), None) for each in plans[:3]]
    assert refused == ["trip-1/first/1", "trip-1/second/1", None]
    assert {fault.kind for each in plans for fault in each} == set(Kind)
    assert all([f.number for f in each] == list(range(1, len(each) + 1)) for each in plans)


def test_a_refused_claim_is_never_left_behind() -> None:
    """An operator would have to decide, as the participant wants it."""
    target = Target("trip-1/first/1", 5.0, may_be_refused=True, may_be_lost=False)

    kinds = {fault.kind for seed in range(300) for fault in plan(seed, [target])}

    assert kinds == {Kind.REFUSED, Kind.BUSY, Kind.SLOW, Kind.DUPLICATE, Kind.LATE}

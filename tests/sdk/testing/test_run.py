"""A saga under test: runs, time, stubs, and what a test may look at."""

from __future__ import annotations

import asyncio
import json
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import pytest
from conveyor.errors import RetryableError
from conveyor.handlers import StepContext
from conveyor.json_text import UnstorableJson
from conveyor.participant import Participant
from conveyor.testing import Conveyor, KitError, NeverEnding, Refused, Unserved, WrongDefinition
from conveyor.worker import Worker

from tests.documents import document, step
from tests.sdk.testing.hotel import DEFINITION, Town

TRIP = {"guest": "Ada", "nights": 2, "flight": True}
DAY = 24 * 3600


def kit(town: Town, **options: Any) -> Conveyor:
    return Conveyor(*town.participants, definitions=[DEFINITION], **options)


def lone(participant: Participant | None = None, **fields: Any) -> Conveyor:
    """A definition of one step."""
    definition = document(
        step("only", service="shop", operation="sell", **fields), timeoutSeconds=0
    )
    participants = () if participant is None else (participant,)
    return Conveyor(*participants, definitions=[definition])


# -- runs ----------------------------------------------------------------------------------------


async def test_a_run_to_its_end() -> None:
    """The participants have done their steps, and the handle has the end."""
    town = Town()

    async with kit(town) as c:
        run = await c.run("hotel-booking", TRIP)

        assert run.status == "COMPLETED"
        assert run.output == {"room": 1, "payment": "payment-1"}
        assert run.step("flight").status == "COMPLETED"
        assert run.events[-1]["type"] == "orchestration.workflow.completed"
        assert town.confirmed == [1]


async def test_a_condition_skips_a_step() -> None:
    """A trip without a flight asks the airline for nothing."""
    async with kit(Town()) as c:
        run = await c.run("hotel-booking", {**TRIP, "flight": False})

        assert run.status == "COMPLETED"
        assert run.step("flight").status == "SKIPPED"
        assert c.service("airline").requests == []


async def test_a_verified_undo() -> None:
    """A failed payment undoes the trip, and the room is seen to be free."""
    town = Town()

    async with kit(town) as c:
        c.service("payment").fails("charge", code="DECLINED")
        run = await c.run("hotel-booking", TRIP)

        assert run.status == "COMPENSATED"
        assert run.undone == ["flight", "room"]
        error = run.step("charge").error
        assert error is not None
        assert error.code == "DECLINED"
        asked = c.service("hotel").requests
        assert [(each.kind, each.operation) for each in asked] == [
            ("perform", "reserve"),
            ("undo", "release"),
            ("verify", "is-free"),
        ]
        assert asked[1].key == "hotel-booking-1/room/1/undo"
        assert (town.rooms, town.flights) == ({}, set())


async def test_a_handle_outlives_its_conveyor() -> None:
    """What it showed last can be asserted after the block."""
    async with kit(Town()) as c:
        run = await c.run("hotel-booking", TRIP)

    assert run.status == "COMPLETED"
    with pytest.raises(KitError, match="async with"):
        assert c.now


async def test_several_workflows_have_ids_that_can_be_read() -> None:
    """Their number, or the id of the test's choice."""
    async with kit(Town()) as c:
        runs = [await c.run("hotel-booking", TRIP) for _ in range(2)]
        named = await c.run("hotel-booking", TRIP, id="trip")

    assert [run.id for run in (*runs, named)] == ["hotel-booking-1", "hotel-booking-2", "trip"]


async def test_worlds_begin_fresh() -> None:
    """Tests share the engine's process, and nothing in it."""
    for _ in range(2):
        async with kit(Town()) as c:
            run = await c.run("hotel-booking", TRIP)

            assert run.id == "hotel-booking-1"
            assert run.output["room"] == 1


async def test_two_worlds_at_a_time() -> None:
    """Their time and their workflows are apart."""
    async with kit(Town()) as one, kit(Town()) as other:
        await one.advance(days=1)
        run = await other.run("hotel-booking", TRIP)

        assert run.status == "COMPLETED"
        assert one.now - other.now > timedelta(hours=23)


async def test_a_worker_stands_for_its_participants() -> None:
    """The object that `conveyor-worker` is given can be tested as it is."""
    async with Conveyor(Worker(*Town().participants), definitions=[DEFINITION]) as c:
        assert (await c.run("hotel-booking", TRIP)).status == "COMPLETED"


# -- time ----------------------------------------------------------------------------------------


async def test_time_passes_only_in_run_and_advance() -> None:
    """A start stands still before a retry; a day later the step is tried again."""
    daily = {"initialDelayMs": DAY * 1000, "maxDelayMs": DAY * 1000}
    beginning = datetime(2030, 1, 1, tzinfo=UTC)
    definition = document(
        step("only", service="shop", operation="sell", retry=daily), timeoutSeconds=0
    )

    async with Conveyor(definitions=[definition], starts_at=beginning) as c:
        c.service("shop").fails("sell", times=2, retryable=True).answers("sell", {"sold": True})
        run = await c.start("order")
        assert (run.step("only").attempts, c.now) == (1, beginning)

        await c.advance(hours=23)
        assert run.step("only").attempts == 1

        await c.advance(hours=1)
        assert run.step("only").attempts == 2
        assert run.step("only").error is not None

        await c.advance(days=1)
        assert run.status == "COMPLETED"
        assert c.now == beginning + timedelta(days=2)


async def test_a_deadline_is_one_of_virtual_time() -> None:
    """A handler sees the clock of its workflow."""
    shop = Participant("shop")
    deadlines: list[datetime | None] = []

    @shop.step("shop", "sell")
    def sell(context: StepContext) -> None:
        deadlines.append(context.deadline)
        if len(deadlines) == 1:
            raise RetryableError("BUSY", "not now")

    async with lone(shop, timeoutMs=60_000, retry={"initialDelayMs": 5000}) as c:
        beginning = c.now
        await c.run("order")

    assert deadlines == [beginning + timedelta(seconds=s) for s in (60, 65)]


async def test_a_slow_operation_is_late_in_virtual_time() -> None:
    """It times out, and what it did in the end counts: it is not done twice."""
    async with kit(Town()) as c:
        c.service("hotel").is_slow("reserve", 7, times=1)
        run = await c.run("hotel-booking", TRIP)

        assert run.status == "COMPLETED"
        assert run.output["room"] == 1
        assert [error.type for error in run.errors] == ["TIMEOUT"]


async def test_a_handler_may_wait_in_real_time() -> None:
    """No virtual time passes meanwhile."""
    shop = Participant("shop")

    @shop.step("shop", "sell")
    async def sell() -> None:
        await asyncio.sleep(0.01)

    async with lone(shop) as c:
        beginning = c.now
        run = await c.run("order")

        assert run.status == "COMPLETED"
        assert c.now == beginning


async def test_a_run_without_an_end_says_why() -> None:
    """Past the pivot a step is tried for ever."""
    async with kit(Town()) as c:
        c.service("hotel").fails("confirm", retryable=True)

        with pytest.raises(NeverEnding, match="hotel-booking-1 has not ended"):
            await c.run("hotel-booking", TRIP)


# -- commands ------------------------------------------------------------------------------------


async def test_commands_to_a_run() -> None:
    """Pause, signal, resume and compensate, each up to the next standstill."""
    async with kit(Town()) as c:
        c.service("hotel").is_slow("reserve", 3)
        run = await c.start("hotel-booking", TRIP)
        await run.pause()
        await c.advance(minutes=1)
        assert run.status == "PAUSED"

        await run.signal("note", {"text": "late"})
        await c.signal(run.id, "note", {"text": "later"})
        await run.resume()
        assert run.status == "COMPLETED"
        assert [e["type"] for e in run.events].count("orchestration.workflow.signalled") == 2

        with pytest.raises(Refused, match="ILLEGAL_STATUS"):
            await run.resume()


async def test_a_wrong_input_is_refused() -> None:
    """By the schema of the definition, as REST does it."""
    async with kit(Town()) as c:
        with pytest.raises(Refused, match="nights") as refused:
            await c.run("hotel-booking", {"guest": "Ada"})
        with pytest.raises(Refused, match="UNKNOWN_DEFINITION"):
            await c.run("hotel")

    assert refused.value.code == "INVALID_INPUT"


# -- services ------------------------------------------------------------------------------------


async def test_stubs_without_participants() -> None:
    """An output may be a function of the input."""
    async with lone(input={"price": "input.price"}) as c:
        c.service("shop").answers("sell", lambda given: {"paid": given["price"] * 2})
        run = await c.run("order", {"price": 4})

        assert run.step("only").output == {"paid": 8}
        assert c.service("shop").requests[0].input == {"price": 4}


async def test_an_operation_fails_as_often_as_was_said() -> None:
    """Then its participant performs it."""
    town = Town()

    async with kit(town) as c:
        c.service("payment").fails("charge", times=2, retryable=True)
        run = await c.run("hotel-booking", TRIP)

        assert run.status == "COMPLETED"
        assert run.step("charge").attempts == 3
        assert len(town.payments) == 1
        assert {request.key for request in c.service("payment").requests} == {
            "hotel-booking-1/charge/1"
        }


async def test_an_unserved_service_says_what_to_add() -> None:
    """At the moment when it is asked."""
    async with lone() as c:
        with pytest.raises(Unserved, match=r"answers\('sell', \{...\}\)"):
            await c.run("order")


async def test_an_operation_that_a_participant_does_not_have() -> None:
    """The sentence names those that it has."""
    shop = Participant("shop")
    shop.step("shop", "buy")(lambda: None)

    async with lone(shop) as c:
        with pytest.raises(Unserved, match=r"it has buy"):
            await c.run("order")


async def test_a_stub_that_only_fails_so_often() -> None:
    """What follows has to be said."""
    async with lone() as c:
        c.service("shop").fails("sell", times=1, retryable=True)

        with pytest.raises(Unserved, match=r"add \.answers"):
            await c.run("order")


# -- handlers ------------------------------------------------------------------------------------


async def test_a_bug_of_a_handler_is_kept() -> None:
    """The step fails as it would anywhere; the exception has the handler's traceback."""
    shop = Participant("shop")

    @shop.step("shop", "sell")
    def sell(given: dict[str, Any]) -> None:
        raise KeyError(given["nothing"])

    async with lone(shop) as c:
        run = await c.run("order")

        assert "INTERNAL: KeyError: 'nothing'" in repr(run)
        [bug] = c.exceptions
        assert isinstance(bug, KeyError)
        assert bug.__traceback__ is not None


@pytest.mark.parametrize("is_async", [True, False])
async def test_an_assertion_of_a_handler_is_one_of_the_test(is_async: bool) -> None:
    """The test fails where it ran the workflow."""
    shop = Participant("shop")

    def plain(given: dict[str, Any]) -> None:
        assert given == {"price": 4}

    async def awaited(given: dict[str, Any]) -> None:
        await asyncio.sleep(0)
        plain(given)

    shop.step("shop", "sell")(awaited if is_async else plain)

    async with lone(shop) as c:
        with pytest.raises(AssertionError):
            await c.run("order")


# -- definitions ---------------------------------------------------------------------------------


async def test_a_definition_is_a_path_a_text_or_a_dict(tmp_path: Path) -> None:
    """All three say the same."""
    file = tmp_path / "trip.yaml"
    file.write_text(DEFINITION)

    for definition in (file, str(file), DEFINITION):
        async with Conveyor(*Town().participants, definitions=[definition]) as c:
            assert (await c.run("hotel-booking", TRIP)).status == "COMPLETED"


async def test_wrong_definitions_are_named_together(tmp_path: Path) -> None:
    """One that cannot be read, one that is not safe."""
    file = tmp_path / "broken.yaml"
    file.write_text("steps: [")
    unsafe = document(step("only", dependsOn=["nothing"]), name="unsafe")

    with pytest.raises(WrongDefinition, match=r"(?s)broken\.yaml: .*\nunsafe: .*nothing"):
        async with Conveyor(definitions=[file, unsafe]):
            """Not reached."""


async def test_a_file_that_is_not_there() -> None:
    """The path is named."""
    with pytest.raises(WrongDefinition, match=r"no/such\.yaml"):
        async with Conveyor(definitions=["no/such.yaml"]):
            """Not reached."""


def test_two_participants_of_one_service() -> None:
    """As of a worker."""
    with pytest.raises(ValueError, match="two participants serve airline, hotel, payment"):
        Conveyor(*Town().participants, *Town().participants)


# -- plain tests ---------------------------------------------------------------------------------


def test_a_plain_test() -> None:
    """The same kit, without `await`."""
    town = Town()

    with kit(town) as c:
        c.service("payment").fails("charge", times=1)
        run = c.run("hotel-booking", TRIP)
        assert run.undone == ["flight", "room"]

        c.service("hotel").is_slow("reserve", 3)
        later = c.start("hotel-booking", TRIP)
        later.signal("note", {"text": "hello"})
        c.advance(seconds=3)

    assert (run.status, later.status) == ("COMPENSATED", "COMPLETED")


async def test_a_plain_block_in_an_async_test() -> None:
    """The sentence says what to write."""
    with pytest.raises(KitError, match="async with"), kit(Town()):
        """Not reached."""


def test_a_kit_that_is_not_open() -> None:
    """The call itself is refused; a coroutine that nobody awaits would pass."""
    kit = Conveyor()
    for call in (lambda: kit.run("d"), lambda: kit.advance(hours=1), lambda: kit.explore("d")):
        with pytest.raises(KitError, match="write `with Conveyor"):
            call()


def test_nothing_to_explore() -> None:
    """It says what to give, and does not explore what is refused without any fault."""
    with Conveyor(definitions=STEPS_OF_NOBODY) as c:
        with pytest.raises(KitError, match="name a definition, or run a workflow before"):
            c.explore()
        with pytest.raises(Refused, match="UNKNOWN_DEFINITION"):
            c.explore("absent")


def test_an_input_that_json_does_not_have() -> None:
    """As a client refuses it."""
    with Conveyor(definitions=STEPS_OF_NOBODY) as c, pytest.raises(UnstorableJson, match="weight"):
        c.run("lonely", {"weight": float("nan")})


def test_one_definition_needs_no_list(tmp_path: Path) -> None:
    """A path is no list of letters."""
    path = tmp_path / "one.yaml"
    path.write_text(json.dumps(STEPS_OF_NOBODY))
    for given in (path, str(path), STEPS_OF_NOBODY):
        with Conveyor(definitions=given) as c:
            c.service("nobody").answers("do", {})
            assert c.run("lonely").status == "COMPLETED"


STEPS_OF_NOBODY = {
    "name": "lonely",
    "version": 1,
    "type": "LONELY",
    "steps": [
        {"id": "do", "service": "nobody", "operation": "do", "compensation": {"operation": "undo"}}
    ],
}

"""The engine in lockstep: it stands still between commands, and only commands let time pass."""

from __future__ import annotations

import io
from typing import Any

import orjson
from conveyor import topics, types
from conveyor.cloudevents import structured
from conveyor.messages import Message

from infrastructure.lockstep.server import serve
from tests.documents import document, step

BEGINNING = "2026-01-01T00:00:00.000Z"
DAY = 24 * 3600
DAILY = {"initialDelayMs": DAY * 1000, "maxDelayMs": DAY * 1000}
ORDER = document(step("reserve", retry=DAILY), timeoutSeconds=0)
START = {"do": "start", "world": 1, "body": {"definition": "order", "id": "order-1", "input": {}}}


def responses(*commands: dict[str, Any]) -> list[dict[str, Any]]:
    """One response to each command."""
    written = io.BytesIO()
    serve([orjson.dumps(command) for command in commands], written)
    return [orjson.loads(line) for line in written.getvalue().splitlines()]


def opening(*definitions: Any) -> dict[str, Any]:
    sources = [{"source": "order.yaml", "document": each} for each in definitions]
    return {"do": "open", "beginning": BEGINNING, "seed": 0, "definitions": sources}


def reply(reply_type: str, attempt: int, **data: Any) -> dict[str, Any]:
    """What a participant says of the first step."""
    ids = {"workflowId": "order-1", "stepId": "reserve", "attempt": attempt, "round": 1}
    message = Message(
        topic=topics.REPLIES,
        key="order-1",
        subject="order-1",
        type=reply_type,
        source="/participants/test",
        id=f"{attempt}/reply",
        data=orjson.dumps(ids | data),
    )
    event = orjson.loads(orjson.dumps(structured(message)))
    return {"do": "reply", "world": 1, "events": [event]}


def test_a_start_asks_a_participant_and_time_stands_still() -> None:
    """The response has the request, and when the next timer is due."""
    [is_open, started] = responses(opening(ORDER), START)

    assert is_open["due"] is None
    assert [request["type"] for request in started["requests"]] == [types.STEP_REQUESTED]
    assert started["statuses"] == {"order-1": "EXECUTING"}
    assert (started["now"], started["due"]) == (0.0, 5.0)


def test_a_day_of_waiting_takes_one_command() -> None:
    """A failed attempt is repeated a day later; then the workflow ends, and nothing is due."""
    busy = {"code": "BUSY", "message": "later", "retryable": True}

    [*_, failed, waited, done] = responses(
        opening(ORDER),
        START,
        reply(types.STEP_FAILED, 1, error=busy),
        {"do": "advance", "world": 1, "to": float(DAY)},
        reply(types.STEP_COMPLETED, 2, output={"room": 7}),
    )

    assert (failed["due"], failed["requests"]) == (float(DAY), [])
    assert (waited["now"], waited["requests"][0]["attempt"]) == (float(DAY), "2")
    assert (done["due"], done["statuses"]) == (None, {"order-1": "COMPLETED"})


def test_a_renewed_world_knows_the_definitions_and_no_workflow() -> None:
    """The same commands give the same run again."""
    [_, first, renewed, second] = responses(
        opening(ORDER), START, {"do": "renew", "world": 1}, START
    )

    assert (renewed["now"], renewed["requests"]) == (0.0, [])
    assert second == first


def test_worlds_are_apart() -> None:
    """The same id may run in two; closing one leaves the other."""
    other = {**START, "world": 2}

    [*_, last] = responses(
        opening(ORDER), opening(ORDER), START, {"do": "close", "world": 1}, other
    )

    assert last["statuses"] == {"order-1": "EXECUTING"}


def test_refusals_are_those_of_the_service() -> None:
    """A second start of an id is refused, an unknown workflow is not found."""
    pause = {"do": "control", "world": 1, "type": types.PAUSE, "id": "other", "data": {}}

    [*_, twice, unknown] = responses(opening(ORDER), START, START, pause)

    assert twice["refused"]["code"] == "WORKFLOW_EXISTS"
    assert unknown["refused"]["code"] == "WORKFLOW_NOT_FOUND"


def test_every_unsafe_definition_is_named() -> None:
    """No world is opened; each fault has its source."""
    unsafe = document(step("reserve", dependsOn=["nothing"]))
    text = {"source": "c.yaml", "text": "steps: [", "form": ".yaml"}
    command = opening(ORDER, unsafe)
    command["definitions"].append(text)

    [response] = responses(command)

    assert [fault["source"] for fault in response["faults"]] == ["order.yaml", "c.yaml"]
    assert "nothing" in response["faults"][0]["detail"]


def test_a_look_shows_the_resource_and_the_whole_history() -> None:
    """The same documents as those of the API."""
    [*_, look] = responses(opening(ORDER), START, {"do": "look", "world": 1, "id": "order-1"})

    assert look["resource"]["status"] == "EXECUTING"
    assert [item["version"] for item in look["history"]] == [1, 2]

"""Production mode: what cannot be done is refused with its reason, and stops nobody else."""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator
from typing import Any

import pytest

from tests.acceptance.courses import Record
from tests.acceptance.programs import until
from tests.acceptance.sites import (
    COMMANDS,
    REPLIES,
    START,
    RunningSite,
    new_id,
    order,
    start_data,
)

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(120)]

REJECTED = "orchestration.command.rejected"


@pytest.fixture(autouse=True)
def _goes_on(site: RunningSite) -> Iterator[None]:
    """A good order that is sent after each bad message still completes."""
    yield
    order_id = new_id("good")
    site.start(order_id)
    site.flush()

    site.courses.until_ended([order_id])

    assert site.courses.end_of(order_id) == "completed"


class TestRejections:
    """Understood and not possible: `orchestration.command.rejected`."""

    @pytest.mark.parametrize(
        ("change", "code", "told"),
        [
            ({"definition": "order-fulfilment"}, "UNKNOWN_DEFINITION", "order-fulfilment"),
            ({"version": 99}, "UNKNOWN_DEFINITION", "order-fulfillment v99"),
            ({"input": {"orderId": "o-1", "lines": []}}, "INVALID_INPUT", "lines"),
            ({"input": {"lines": [{"sku": "A", "quantity": 0}]}}, "INVALID_INPUT", "quantity"),
            ({"surprise": 1}, "INVALID_INPUT", "surprise"),
        ],
    )
    def test_starts_that_cannot_be(
        self, site: RunningSite, change: dict[str, object], code: str, told: str
    ) -> None:
        """An unknown definition, version or field and an input against the schema start nothing."""
        order_id = new_id("bad")
        command_id = site.command(order_id, START, {**start_data(order_id), **change})
        site.flush()

        rejection = rejection_of(site, order_id, command_id)

        assert rejection["code"] == code
        assert told in json.dumps(rejection)
        assert rejection["version"] == 0
        assert site.http.get(f"/api/v1/workflows/{order_id}").status_code == 404

    def test_a_second_start_of_an_id(self, site: RunningSite) -> None:
        """Another command for an id that exists is refused and stands in its history."""
        order_id = new_id("twice")
        site.start(order_id)
        again = site.command(order_id, START, start_data(order_id))
        site.flush()

        rejection = rejection_of(site, order_id, again)

        assert rejection["code"] == "WORKFLOW_EXISTS"
        assert rejection["version"] > 1

    def test_an_idempotency_key_used_again(self, site: RunningSite) -> None:
        """The same key with the same payload is one start, with another payload a conflict."""
        key, other = new_id("key"), new_id("other")
        data = {**start_data("o-1"), "idempotencyKey": key}
        order_id = new_id("keyed")
        site.command(order_id, START, data)
        site.command(order_id, START, data)
        conflicting = {**data, "input": order(other)}
        conflict = site.command(order_id, START, conflicting)
        site.flush()

        rejection = rejection_of(site, order_id, conflict)
        site.courses.until_event(order_id, "completed")

        assert rejection["code"] == "IDEMPOTENCY_CONFLICT"
        assert site.courses.types(order_id).count("started") == 1
        assert site.courses.types(order_id).count(REJECTED) == 1
        assert sorted(site.operations(order_id)) == sorted(
            ["reserve", "charge", "assign", "pick", "pack"]
        )

    def test_the_same_message_twice(self, site: RunningSite) -> None:
        """A producer's copy of a command starts nothing and is not refused either."""
        order_id = new_id("copy")
        event_id = site.command(order_id, START, start_data(order_id))
        site.command(order_id, START, start_data(order_id), id=event_id)
        site.flush()

        site.courses.until_ended([order_id])

        assert site.courses.types(order_id).count("started") == 1
        assert REJECTED not in site.courses.types(order_id)

    def test_a_command_for_nobody(self, site: RunningSite) -> None:
        """A cancel of a workflow that does not exist is refused as not found."""
        order_id = new_id("nobody")
        command_id = site.command(order_id, "orchestration.workflow.cancel", {"reason": "why not"})
        site.flush()

        assert rejection_of(site, order_id, command_id)["code"] == "WORKFLOW_NOT_FOUND"


class TestDeadLetters:
    """Not understood: the message as it was, with the reason in headers."""

    def test_an_id_that_is_too_long(self, site: RunningSite) -> None:
        """37 characters are one too many."""
        order_id = "x" * 37
        site.start(order_id)
        site.flush()

        letter = dead_letter(site, lambda each: each.key == order_id)

        assert letter.headers["dlq-reason"] == "INVALID_ID"
        assert "36" in letter.headers["dlq-detail"]

    def test_no_cloudevent(self, site: RunningSite) -> None:
        """A record without CloudEvents attributes is kept as it was."""
        value = new_id("no-event").encode()
        site.write("some-key", value, {"own-header": "kept"})
        site.flush()

        letter = dead_letter(site, lambda each: each.value == value)

        assert letter.headers["dlq-reason"] == "MALFORMED_EVENT"
        assert letter.headers["dlq-topic"] == COMMANDS
        assert int(letter.headers["dlq-partition"]) in range(4)
        assert int(letter.headers["dlq-offset"]) >= 0
        assert letter.headers["dlq-time"].endswith("Z")
        assert letter.headers["own-header"] == "kept"
        assert letter.key == "some-key"

    def test_a_missing_attribute(self, site: RunningSite) -> None:
        """A CloudEvent without a source names what is missing."""
        order_id = new_id("sourceless")
        site.command(order_id, START, start_data(order_id), source="")
        site.flush()

        letter = dead_letter(site, lambda each: each.key == order_id)

        assert letter.headers["dlq-reason"] == "MISSING_ATTRIBUTE"
        assert "source" in letter.headers["dlq-detail"]

    def test_an_unknown_type(self, site: RunningSite) -> None:
        """A command that does not exist is named."""
        order_id = new_id("typeless")
        site.command(order_id, "orchestration.workflow.explode", {})
        site.flush()

        letter = dead_letter(site, lambda each: each.key == order_id)

        assert letter.headers["dlq-reason"] == "UNKNOWN_TYPE"
        assert "orchestration.workflow.explode" in letter.headers["dlq-detail"]

    def test_an_oversized_message(self, site: RunningSite) -> None:
        """A message over 1 MiB that the topic still takes is kept and not carried out."""
        order_id = new_id("huge")
        data = start_data(order_id)
        data["metadata"] = {"padding": "x" * (1024 * 1024 + 1)}
        site.command(order_id, START, data)
        site.flush()

        letter = dead_letter(site, lambda each: each.key == order_id)

        assert letter.headers["dlq-reason"] == "TOO_LARGE"
        assert len(letter.value) > 1024 * 1024
        assert site.http.get(f"/api/v1/workflows/{order_id}").status_code == 404

    def test_a_forged_timer(self, site: RunningSite) -> None:
        """An internal message that no engine has signed is not applied."""
        order_id = new_id("forged")
        site.command(order_id, "orchestration.internal.timer-due", {"kind": "WORKFLOW_TIMEOUT"})
        site.flush()

        letter = dead_letter(site, lambda each: each.key == order_id)

        assert letter.headers["dlq-reason"] == "BAD_MAC"


class TestReplies:
    def test_to_a_finished_step(self, site: RunningSite) -> None:
        """A reply to a step that is done already is recorded as ignored and changes nothing."""
        order_id = new_id("done")
        site.start(order_id)
        site.flush()
        site.courses.until_ended([order_id])
        before = site.http.get(f"/api/v1/workflows/{order_id}").json()

        site.command(order_id, "orchestration.step.completed", reply_to(order_id), topic=REPLIES)
        site.flush()
        ignored = site.courses.until_event(order_id, "step.reply-ignored")

        after = site.http.get(f"/api/v1/workflows/{order_id}").json()
        assert ignored.data["stepId"] == "reserve-inventory"
        assert after["status"] == "COMPLETED"
        assert after["executionContext"] == before["executionContext"]

    def test_to_nobody(self, site: RunningSite) -> None:
        """A reply for a workflow that does not exist is counted."""
        before = orphans(site)
        order_id = new_id("nobody")

        site.command(order_id, "orchestration.step.completed", reply_to(order_id), topic=REPLIES)
        site.flush()

        until("the reply is counted", lambda: orphans(site) == before + 1)
        assert site.http.get(f"/api/v1/workflows/{order_id}").status_code == 404


def test_what_is_wrong_over_rest_is_a_problem_document(site: RunningSite) -> None:
    """A start with several faults is answered with all of them, before anything is sent."""
    body = {"definition": "order-fulfillment", "id": "x" * 37, "input": {"lines": []}}

    answer = site.http.post("/api/v1/workflows", json=body)

    problem = answer.json()
    assert answer.status_code == 422
    assert answer.headers["content-type"] == "application/problem+json"
    assert problem["code"] == "INVALID_INPUT"
    assert {"id", "input.lines"} <= {fault["path"] for fault in problem["errors"]}
    assert any("orderId" in fault["path"] + fault["message"] for fault in problem["errors"])


def reply_to(workflow_id: str) -> dict[str, object]:
    return {
        "workflowId": workflow_id,
        "stepId": "reserve-inventory",
        "attempt": 1,
        "round": 1,
        "compensation": False,
        "output": {"reservationId": "forged"},
    }


def rejection_of(site: RunningSite, workflow_id: str, command_id: str) -> dict[str, Any]:
    """The refusal's data; one without a workflow has no place in a course of events."""

    def look() -> Record | None:
        site.courses.read()
        return next(
            (
                each
                for each in site.courses.records
                if each.type == REJECTED and each.data["commandId"] == command_id
            ),
            None,
        )

    rejection = until(f"the refusal of {command_id}", look)
    assert rejection.key == workflow_id
    assert rejection.headers["ce_causationid"] == command_id
    return rejection.data


def dead_letter(site: RunningSite, is_it: Callable[[Record], bool]) -> Record:
    def look() -> Record | None:
        site.dead_letters.poll()
        return next((each for each in site.dead_letters.records if is_it(each)), None)

    return until("the dead letter", look)


def orphans(site: RunningSite) -> float:
    """How many replies for unknown workflows the engine counts."""
    for line in site.http.get("/metrics").text.splitlines():
        if line.startswith('workflow_engine_events_total{what="orphans"}'):
            return float(line.rpartition(" ")[2])
    return 0.0

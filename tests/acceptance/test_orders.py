"""Production mode: orders that a bare Kafka client sends, told by events, MongoDB and Redis."""

from __future__ import annotations

import json
import uuid
from datetime import timedelta
from typing import Any

import pytest

from tests.acceptance.courses import moment
from tests.acceptance.programs import until
from tests.acceptance.sites import START, RunningSite, new_id, start_data

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(180)]

FORWARD = ["reserve", "charge", "assign", "pick", "pack"]
STEPS = ["reserve-inventory", "charge-payment", "assign-robot", "pick-items", "pack-items"]
COMMON = {
    "eventId",
    "eventType",
    "occurredAt",
    "aggregateId",
    "workflowInstanceId",
    "version",
    "tenant",
    "definition",
    "definitionVersion",
    "workflowType",
    "correlationId",
    "actor",
}


def test_an_order_completes(site: RunningSite) -> None:
    """A start by a bare producer leads to every event in version order and to the document in MongoDB."""
    order_id = new_id("order")
    data = {**start_data(order_id), "correlationId": "corr-7"}
    site.command(order_id, START, data)
    site.flush()

    site.courses.until_ended([order_id])

    scheduled_and_executed = ["step.scheduled", "step.executed"] * len(STEPS)
    assert site.courses.types(order_id) == ["started", *scheduled_and_executed, "completed"]
    executed = site.courses.of_type(order_id, "step.executed")
    assert [event["stepId"] for event in executed] == STEPS
    assert site.operations(order_id) == FORWARD
    document = until("the end in MongoDB", lambda: _document_in(site, order_id, "COMPLETED"))
    assert document["executedSteps"] == STEPS
    assert document["version"] == 12
    assert document["correlationId"] == "corr-7"
    assert document["inputParameters"] == data["input"]
    assert document["progress"] == 100


def test_events_are_cloudevents(site: RunningSite) -> None:
    """Each event is a CloudEvent in binary mode with key, headers and the common fields in agreement."""
    order_id = new_id("order")
    command_id = site.command(order_id, START, {**start_data(order_id), "correlationId": "corr-8"})
    site.flush()

    site.courses.until_ended([order_id])
    events = site.courses.of(order_id)

    for version, event in enumerate(events, start=1):
        data, headers = event.data, event.headers
        assert data.keys() >= COMMON
        assert data["version"] == version
        assert data["aggregateId"] == data["workflowInstanceId"] == event.key == order_id
        assert data["definition"] == "order-fulfillment"
        assert data["workflowType"] == "ORDER_FULFILLMENT"
        assert data["correlationId"] == headers["ce_correlationid"] == "corr-8"
        assert data["eventId"] == headers["ce_id"] == f"{order_id}:{version}"
        assert data["occurredAt"] == headers["ce_time"]
        assert headers["ce_specversion"] == "1.0"
        assert headers["ce_source"] == "/conveyor"
        assert headers["ce_subject"] == order_id
        assert headers["content-type"] == "application/json"
        assert event.type in headers["ce_dataschema"]
    assert len(events) == 12
    assert events[0].data["eventType"] == "WorkflowStartedEvent"
    assert events[0].headers["ce_causationid"] == command_id
    assert events[-1].data["eventType"] == "WorkflowCompletedEvent"


def test_a_start_in_structured_mode(site: RunningSite) -> None:
    """A structured CloudEvent without a key starts the workflow of its subject."""
    order_id = new_id("order")
    event = {
        "specversion": "1.0",
        "id": uuid.uuid4().hex,
        "source": "/acceptance",
        "type": START,
        "subject": order_id,
        "datacontenttype": "application/json",
        "data": start_data(order_id),
    }
    content_type = {"content-type": "application/cloudevents+json; charset=utf-8"}
    site.write(None, json.dumps(event).encode(), content_type)
    site.flush()

    site.courses.until_ended([order_id])

    assert site.courses.end_of(order_id) == "completed"


def test_a_failed_pick_is_compensated(site: RunningSite) -> None:
    """A pick that fails for good undoes robot, payment and inventory, in that order."""
    order_id = new_id("order")
    site.start(order_id, {"failStep": "pick-items", "retryable": False})
    site.flush()

    site.courses.until_ended([order_id])

    undone = ["assign-robot", "charge-payment", "reserve-inventory"]
    assert site.operations(order_id) == [*FORWARD[:3], "unassign", "refund", "release"]
    compensated = site.courses.of_type(order_id, "step.compensated")
    assert [event["stepId"] for event in compensated] == undone
    [failed] = site.courses.of_type(order_id, "failed")
    assert failed["stepId"] == "pick-items"
    assert failed["willCompensate"] is True
    [completed] = site.courses.of_type(order_id, "compensation.completed")
    assert completed["success"] is True
    assert completed["compensatedSteps"] == undone
    document = until("the end in MongoDB", lambda: _document_in(site, order_id, "COMPENSATED"))
    assert document["compensatedSteps"] == undone
    assert document["compensationStatus"] == "COMPLETED"


def test_retries_wait_longer_each_time(site: RunningSite) -> None:
    """A pick that fails twice and may be retried succeeds at the third attempt, after 1 s and 2 s."""
    order_id = new_id("order")
    site.start(order_id, {"failStep": "pick-items", "retryable": True, "times": 2})
    site.flush()

    site.courses.until_ended([order_id])

    failed = site.courses.of_type(order_id, "step.failed")
    retried = [
        event
        for event in site.courses.of_type(order_id, "step.scheduled")
        if event["stepId"] == "pick-items" and event["attempt"] > 1
    ]
    waits = [moment(each["nextAttemptAt"]) - moment(each["occurredAt"]) for each in failed]
    assert waits == [timedelta(seconds=1), timedelta(seconds=2)]
    for failure, retry in zip(failed, retried, strict=True):
        late = moment(retry["occurredAt"]) - moment(failure["nextAttemptAt"])
        assert timedelta(0) <= late < timedelta(seconds=15)
    [picked] = [
        event
        for event in site.courses.of_type(order_id, "step.executed")
        if event["stepId"] == "pick-items"
    ]
    assert picked["attempt"] == 3
    assert site.courses.end_of(order_id) == "completed"
    assert site.operations(order_id) == FORWARD


def test_hot_state_lives_as_long_as_the_work(site: RunningSite) -> None:
    """While a slow step runs Redis holds state and lock of the workflow; at its end both are gone."""
    order_id = new_id("order")
    state, lock = f"workflow:state:{order_id}", f"workflow:lock:{order_id}"
    site.start(order_id, {"failStep": "pick-items", "times": 0, "latencyMs": 3000})
    site.flush()

    hot = until("the hot state", lambda: site.redis.hgetall(state))
    holder = until("the lock", lambda: site.redis.get(lock))

    assert hot["status"] == "EXECUTING"
    assert hot["definition"] == "order-fulfillment"
    assert ":" in str(holder)
    assert 1 <= int(str(site.redis.ttl(lock))) <= 300
    site.courses.until_ended([order_id])
    until("hot state and lock are gone", lambda: site.redis.exists(state, lock) == 0)


def _document_in(site: RunningSite, workflow_id: str, status: str) -> dict[str, Any] | None:
    document = site.document(workflow_id)
    return document if document is not None and document["status"] == status else None

"""One message that starts several workflows, and a step that is retried without end: neither happens."""

from __future__ import annotations

import json
from collections import Counter

import pytest
from confluent_kafka import Producer

from tests.acceptance.programs import until
from tests.acceptance.sites import COMMANDS, PARTITIONS, START, start_data
from tests.faults.load import COMPENSATED, Order
from tests.faults.plant import Plant
from tests.faults.tally import Fault

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]


def test_one_message_reaches_several_engines(works: Plant) -> None:
    """Copies of a start on every partition, with three engines of which one dies, start one workflow each."""
    works.warehouse()
    engines = [works.engine(f"engine-{number}") for number in range(3)]
    producer = Producer({"bootstrap.servers": works.site.kafka, "log_level": 0})
    topic = works.site.prefix + COMMANDS
    names = [f"order-{number}" for number in range(100)]

    for place, name in enumerate(names):
        headers: dict[str, str | bytes | None] = {
            "ce_specversion": "1.0",
            "ce_id": name,
            "ce_source": "/shop",
            "ce_type": START,
            "content-type": "application/json",
        }
        value = json.dumps({**start_data(name), "correlationId": name}).encode()
        for partition in range(PARTITIONS):
            # Neither key nor subject: the id is derived, and three of four lie on a wrong partition.
            producer.produce(topic, value, partition=partition, headers=headers)
            works.tally.add(Fault.COPY, "on another partition")
        if place == 50:
            assert producer.flush(30) == 0
            works.load.until_a_random_moment(100)
            victim = works.rng.choice(engines)
            works.kill(victim)
            works.again(victim)
    assert producer.flush(30) == 0
    until("each has started", lambda: set(names) <= _started(works), 60)
    derived = works.site.database["workflow_events"].distinct("workflowId")
    works.load.orders += [
        Order(each, {}, "COMPLETED") for each in derived if not each.startswith("inbox:")
    ]
    works.load.until_ended()

    evidence = works.expect_no_violations()
    by_order = Counter(
        evidence.projections[order.id]["correlationId"] for order in works.load.orders
    )
    assert by_order == dict.fromkeys(names, 1)


def _started(works: Plant) -> set[str]:
    """Correlation ids of the workflows of which an event was seen."""
    works.courses.read()
    return {record.data.get("correlationId", "") for record in works.courses.records}


def test_no_step_is_retried_without_end(works: Plant) -> None:
    """A step that fails for ever is tried four times, through every death of engine and participant."""
    warehouse, engine = works.warehouse(), works.engine("engine-1")
    orders = [
        Order(
            f"hopeless-{number}",
            {"failStep": "assign-robot", "retryable": True, "errorType": "SERVICE_UNAVAILABLE"},
            COMPENSATED,
        )
        for number in range(100)
    ]
    for order in orders:
        works.site.start(order.id, order.simulate)
    works.site.flush()
    works.load.orders += orders

    for _ in range(3):
        works.load.until_a_random_moment(300)
        works.kill(engine)
        works.kill(warehouse)
        works.again(engine)
        works.again(warehouse)
    works.load.until_ended()

    works.expect_no_violations()
    attempts = {
        order.id: [
            event["attempt"]
            for event in works.courses.of_type(order.id, "step.scheduled")
            if event["stepId"] == "assign-robot"
        ]
        for order in orders
    }
    assert attempts == {order.id: [1, 2, 3, 4] for order in orders}

"""Official clients and SDKs of other languages judge the binding: every form that a specification leaves open."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any

import pytest

from tests.acceptance.sites import COMMANDS, EVENTS
from tests.foreign_clients.conftest import Report
from tests.foreign_clients.variants import COMPLETED, variants

pytestmark = [pytest.mark.foreign, pytest.mark.timeout(300)]

#: What an SDK adds of its own to the attributes of a record: the content type and the key.
_OF_THE_RECORD = {"datacontenttype", "partitionkey"}


def test_every_variant_has_its_verdict(report: Report) -> None:
    """A form that the specifications allow starts a workflow; any other is a dead letter that says why."""
    language = report.client.language
    expected = {each.name: each.verdict for each in variants() if language in each.languages}

    assert report.verdicts == expected


def test_requests_are_valid_for_the_sdk(report: Report) -> None:
    """The participant's SDK reads each request whole: ids, idempotency key, attempt and input."""
    by_workflow = {
        each["attributes"]["subject"]: each
        for each in report.requests
        if each["attributes"]["type"] == "orchestration.step.requested"
    }
    workflows = {
        report.workflow_of(name): order
        for name, order in report.orders.items()
        if report.verdicts[name] == COMPLETED
    }

    assert by_workflow.keys() == workflows.keys()
    for workflow_id, order in workflows.items():
        request = by_workflow[workflow_id]
        assert request["attributes"]["idempotencykey"] == f"{workflow_id}/pack/1"
        assert request["data"]["workflowId"] == workflow_id
        assert request["data"]["input"]["order"] == order


def test_an_undo_is_valid_for_the_sdk(report: Report) -> None:
    """The client orders an undo, reads the request for it and replies; its own step is undone."""
    site, client = report.site, report.client
    workflow_id = str(report.workflow_of("binary, compression none"))
    event = {
        "id": f"undo-{workflow_id}",
        "source": f"/foreign/{client.language}",
        "type": "orchestration.workflow.compensate",
        "subject": workflow_id,
        "data": {"reason": "sent back"},
    }
    order = {"topic": site.prefix + COMMANDS, "mode": "structured", "key": workflow_id}

    [sent] = client.send([{**order, "event": event}])
    site.courses.until_event(workflow_id, "compensation.completed")

    [request] = [
        each
        for each in report.requests
        if each["attributes"]["type"] == "orchestration.step.compensation-requested"
    ]
    assert "partition" in sent
    assert request["attributes"]["idempotencykey"] == f"{workflow_id}/pack/1/undo"
    assert request["data"]["stepOutput"] == {"packedBy": client.language}
    assert "step.compensated" in site.courses.types(workflow_id)


def test_replies_count(report: Report) -> None:
    """The output that the client replied, in binary or structured mode, is the step's."""
    completed = [name for name, verdict in report.verdicts.items() if verdict == COMPLETED]

    outputs = [
        report.site.courses.of_type(str(report.workflow_of(name)), "step.executed")[0]["output"]
        for name in completed
    ]

    assert outputs == [{"packedBy": report.client.language}] * len(completed)


def test_events_are_valid_for_the_sdk(report: Report) -> None:
    """The SDK reads every event with the attributes and data that are on the broker."""
    report.site.courses.read()
    written = {each.headers["ce_id"]: each for each in report.site.courses.records}

    read = report.client.read(report.site.prefix + EVENTS)

    seen = {each["attributes"]["id"]: each for each in read}
    assert seen.keys() >= written.keys()
    for event_id, record in written.items():
        sent = {
            name.removeprefix("ce_"): value
            for name, value in record.headers.items()
            if name.startswith("ce_")
        }
        assert comparable(seen[event_id]["attributes"]) == comparable(sent)
        assert seen[event_id]["attributes"]["datacontenttype"] == "application/json"
        assert seen[event_id]["data"] == record.data


def test_partitioners_differ(report: Report) -> None:
    """The clients did write to partitions on which no workflow of that key lives."""
    partitions = {
        (name.split(",")[0], done["partition"])
        for name, done in report.sent.items()
        if name.startswith("partitioner")
    }

    assert len(partitions) > len({name for name, _ in partitions})


def comparable(attributes: Mapping[str, Any]) -> dict[str, Any]:
    """The attributes with the time as a moment, since each SDK writes it in its own form."""
    return {
        name: datetime.fromisoformat(value) if name == "time" else value
        for name, value in attributes.items()
        if name not in _OF_THE_RECORD
    }

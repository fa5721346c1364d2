"""Commits and documents of the shape that the application writes (CONTRACT 1 and 6)."""

from __future__ import annotations

from typing import Any

import orjson

from application.ports import Commit, Document, Entry, RecordedEvent
from domain.aggregate.position import Position

COMMANDS = "orchestration.workflow.commands"
REPLIES = "orchestration.step.replies"


def position(offset: int, *, topic: str = COMMANDS, partition: int = 0, epoch: int = 0) -> Position:
    """A place in an inbox topic; its topic id follows from its name."""
    return Position(f"id-of-{topic}", topic, partition, epoch, offset)


def event(
    workflow_id: str,
    version: int,
    *,
    type: str = "orchestration.workflow.step.executed",
    kind: str | None = None,
    sends: tuple[Document, ...] = (),
    **own: Any,
) -> RecordedEvent:
    """The event that makes this version, with the fields that all events have and some of its own."""
    return recorded(
        type,
        {
            "eventId": f"{workflow_id}:{version}",
            "eventType": "WorkflowStepExecutedEvent",
            "occurredAt": "2026-11-21T02:30:00.123Z",
            "aggregateId": workflow_id,
            "version": version,
            "definition": "order-fulfillment",
            "definitionVersion": 1,
            "output": {"reservationId": "res-1", "weightKg": 1.5, "fragile": False, "note": None},
            **own,
        },
        kind,
        sends,
    )


def recorded(
    type: str, data: Document, kind: str | None = None, sends: tuple[Document, ...] = ()
) -> RecordedEvent:
    """An event with this data."""
    return RecordedEvent(type, orjson.dumps(data), kind, sends)


def entry(workflow_id: str, versions: range, cause: Position) -> Entry:
    """What the message at `cause` did: one event per version."""
    events = tuple(event(workflow_id, version) for version in versions)
    return Entry(cause, f"/orders {cause.topic}-{cause.offset}", events)


def commit(
    workflow_id: str,
    first_version: int,
    *,
    events: int = 1,
    cause: Position | None = None,
    partition: int = 0,
) -> Commit:
    """A commit of one entry."""
    versions = range(first_version, first_version + events)
    cause = cause or position(first_version, partition=partition)
    return Commit(workflow_id, first_version, partition, (entry(workflow_id, versions, cause),))


def workflow(workflow_id: str, version: int = 1, **fields: Any) -> Document:
    """The projected state of an instance in execution, with any fields changed."""
    return {
        "_id": workflow_id,
        "partition": 0,
        "nextTimerAt": None,
        "tenant": "default",
        "workflowDefinitionId": "order-fulfillment-v1",
        "definition": "order-fulfillment",
        "definitionVersion": 1,
        "workflowType": "ORDER_FULFILLMENT",
        "status": "EXECUTING",
        "version": version,
        "priority": "NORMAL",
        "releaseQueue": None,
        "dueAt": None,
        "correlationId": f"corr-{workflow_id}",
        "userId": None,
        "wallet": None,
        "labels": {},
        "metadata": {},
        "inputParameters": {"orderId": "ORD-1", "lines": [{"sku": "SKU-1", "quantity": 2}]},
        "executionContext": {"steps": {"reserve-inventory": {"output": {"reservationId": "r1"}}}},
        "output": None,
        "currentStepId": "charge-payment",
        "progress": 20,
        "createdAt": "2026-11-21T02:30:00.123Z",
        "startedAt": "2026-11-21T02:30:00.123Z",
        "updatedAt": "2026-11-21T02:30:00.123Z",
        "completedAt": None,
        "steps": [{"stepId": "reserve-inventory", "status": "COMPLETED", "executionTimeMs": 12}],
        "engine": {"signals": {}, "applied": [{"topicId": "t", "partition": 0, "offset": 7}]},
        **fields,
    }


#: JSON that stores built on other data models tend to change or refuse.
AWKWARD_JSON: Document = {
    "$ref": "#/definitions/line",
    "$id": "urn:order",
    "app.kubernetes.io/name": "with dots",
    "empty": {"": "an empty key", "list": [], "object": {}},
    "null\u0000character": "in\u0000text",
    "amountInWei": 2**63 + 1,
    "least": -(2**63),
    "real": 1e300,
    "text": "größer als 5 € 🚀",
    "nested": [[{"$where": [None, True, False]}]],
}

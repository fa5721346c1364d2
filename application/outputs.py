"""What follows from a commit, as messages: a pure function of what the commit stores (PROTOCOL rule 15).

The same commit gives the same messages with the same ids, whoever publishes it and however often.
"""

from __future__ import annotations

from typing import Any

import orjson
from conveyor import topics, types
from conveyor.messages import Message

from application.codec.internal import SOURCE, Sign, send_message
from application.ports import Commit, Document, Entry, RecordedEvent
from domain.workflow.events import (
    StepCompensationFailed,
    StepFailed,
    StepReplyIgnored,
    StepRetryScheduled,
    StepScheduled,
    StepUnresolved,
)

_REQUESTING = frozenset({StepScheduled.TYPE, StepUnresolved.TYPE})
#: What may happen to a step again and again, and leaves its document as large as it is.
_REPEATING = frozenset(
    event.TYPE
    for event in (
        StepFailed,
        StepRetryScheduled,
        StepUnresolved,
        StepReplyIgnored,
        StepCompensationFailed,
    )
)


def outputs(commit: Commit, sign: Sign) -> list[Message]:
    """Every message of the commit, in order: each public event, its request if any, then its sends."""
    return [message for entry in commit.entries for message in entry_outputs(entry, sign)]


def kept_bytes(entry: Entry) -> int:
    """About how much larger the document of the aggregate gets: what is repeated for days must not count."""
    return sum(len(event.json) for event in entry.events if not _repeats(event))


def _repeats(event: RecordedEvent) -> bool:
    if event.type != StepScheduled.TYPE:
        return event.type in _REPEATING
    # Later attempts have the same input, and the document has none of undos.
    return event.data["attempt"] > 1 or "purpose" in event.data


def entry_outputs(entry: Entry, sign: Sign) -> list[Message]:
    """The messages that one inbox message led to. `sign` signs those to other aggregates."""
    causation_id = entry.message_id.partition(" ")[2]
    messages: list[Message] = []
    for event in entry.events:
        if event.is_public:
            messages.append(_event_message(event, causation_id))
        if event.type in _REQUESTING:
            messages.append(_request_message(event.type, event.data))
        for number, send in enumerate(event.sends, 1):
            messages.append(send_message(sign, send, f"{event.data['eventId']}/send/{number}"))
    return messages


def _event_message(event: RecordedEvent, causation_id: str) -> Message:
    data = event.data
    aggregate_id: str = data["aggregateId"]
    extensions = {"causationid": causation_id}
    correlation_id = data.get("correlationId")
    if correlation_id is not None:
        extensions["correlationid"] = correlation_id
    traceparent = data.get("traceparent")
    if traceparent is not None:
        extensions["traceparent"] = traceparent
    return Message(
        topic=topics.EVENTS,
        key=aggregate_id,
        type=event.type,
        source=SOURCE,
        id=data["eventId"],
        subject=aggregate_id,
        time=data["occurredAt"],
        dataschema=types.dataschema(event.type),
        data=event.json,
        extensions=extensions,
    )


def _request_message(event_type: str, data: Document) -> Message:
    request: dict[str, Any] = data["request"]
    request_type = types.SEAL_REQUESTED
    extensions = {"idempotencykey": data["idempotencyKey"], "causationid": data["eventId"]}
    if event_type == StepScheduled.TYPE:
        undo = data.get("purpose") == "undo"
        request_type = types.COMPENSATION_REQUESTED if undo else types.STEP_REQUESTED
        extensions["attempt"] = str(request["attempt"])
    correlation_id = data.get("correlationId")
    if correlation_id is not None:
        extensions["correlationid"] = correlation_id
    traceparent = data.get("traceparent")
    if traceparent is not None:
        extensions["traceparent"] = traceparent
    return Message(
        topic=topics.step_requests(data["serviceName"]),
        key=data["aggregateId"],
        type=request_type,
        source=SOURCE,
        id=f"{data['eventId']}/request",
        subject=data["aggregateId"],
        time=data["occurredAt"],
        dataschema=types.dataschema(request_type),
        data=orjson.dumps(request),
        extensions=extensions,
    )

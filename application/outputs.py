"""The messages that follow from a commit: a pure function of the stored commit (PROTOCOL rule 15).

The same commit always gives the same messages with the same ids, on any engine.
"""

from __future__ import annotations

from conveyor import topics, types
from conveyor.messages import Message

from application.codec.internal import SOURCE, Sign, send_message
from application.ports import Commit, Entry, EventHead, RecordedEvent
from domain.workflow.events import (
    StepCompensationFailed,
    StepFailed,
    StepReplyIgnored,
    StepRetryScheduled,
    StepScheduled,
    StepUnresolved,
)

_REQUESTING = frozenset({StepScheduled.TYPE, StepUnresolved.TYPE})
#: Events that a step can have again and again without its document growing.
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
    """Roughly how much larger the aggregate's document gets. Steps that repeat for days must not count."""
    return sum([len(event.json) for event in entry.events if not _repeats(event)])


def _repeats(event: RecordedEvent) -> bool:
    if event.type != StepScheduled.TYPE:
        return event.type in _REPEATING
    # Later attempts have the same input, and the document has none of undos.
    head = event.head
    return head.purpose is not None or head.attempt != 1


def entry_outputs(entry: Entry, sign: Sign) -> list[Message]:
    """The messages that one inbox message led to. `sign` signs those to other aggregates."""
    causation_id = entry.message_id.partition(" ")[2]
    messages: list[Message] = []
    for event in entry.events:
        head = event.head
        passed_on = _passed_on(head)
        if event.is_public:
            extensions = {"causationid": causation_id, **passed_on}
            messages.append(_event_message(event, head, extensions))
        if event.type in _REQUESTING:
            messages.append(_request_message(event.type, head, passed_on))
        for number, send in enumerate(event.sends, 1):
            messages.append(send_message(sign, send, f"{head.event_id}/send/{number}"))
    return messages


def _passed_on(head: EventHead) -> dict[str, str]:
    """The extension attributes that all messages of a workflow carry."""
    passed_on: dict[str, str] = {}
    if head.correlation_id is not None:
        passed_on["correlationid"] = head.correlation_id
    if head.traceparent is not None:
        passed_on["traceparent"] = head.traceparent
    return passed_on


def _event_message(event: RecordedEvent, head: EventHead, extensions: dict[str, str]) -> Message:
    return Message(
        topic=topics.EVENTS,
        key=head.aggregate_id,
        type=event.type,
        source=SOURCE,
        id=head.event_id,
        subject=head.aggregate_id,
        time=head.occurred_at,
        dataschema=types.dataschema(event.type),
        data=event.json,
        extensions=extensions,
    )


def _request_message(event_type: str, head: EventHead, passed_on: dict[str, str]) -> Message:
    request_type = types.SEAL_REQUESTED
    extensions = {"idempotencykey": str(head.idempotency_key), "causationid": head.event_id}
    if event_type == StepScheduled.TYPE:
        undo = head.purpose == "undo"
        request_type = types.COMPENSATION_REQUESTED if undo else types.STEP_REQUESTED
        extensions["attempt"] = str(head.attempt)
    return Message(
        topic=topics.step_requests(str(head.service_name)),
        key=head.aggregate_id,
        type=request_type,
        source=SOURCE,
        id=f"{head.event_id}/request",
        subject=head.aggregate_id,
        time=head.occurred_at,
        dataschema=types.dataschema(request_type),
        data=bytes(head.request),
        extensions=extensions | passed_on,
    )

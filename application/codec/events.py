"""Events as documents. The catalog below is the only registry of event types; names never come from classes.

A recorded event holds the whole published document: the fields common to all events and the event's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from dataclasses import MISSING, fields
from datetime import datetime
from typing import Any, get_type_hints

from application.codec.times import parse_time, rfc3339
from application.ports import Document, RecordedEvent
from domain.aggregate.event import DomainEvent
from domain.definition.definition import WorkflowDefinition
from domain.workflow.events import (
    WORKFLOW_EVENTS,
    CommandRejected,
    SealRequest,
    StartFacts,
    StepRequest,
)
from domain.workflow.failure import WorkflowError
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import WorkflowPriority

SOURCE = "/conveyor"
#: In the log of `inbox:<partition>`: an engine claimed the partition. No event of a workflow, so it is not in the
#: catalog, and nobody asked for it, so it is never published.
PARTITION_CLAIMED = "orchestration.internal.partition-claimed"

DefinitionOf = Callable[[str, int], WorkflowDefinition]
_Convert = Callable[[Any], Any]


def camel(name: str) -> str:
    """`step_id` -> `stepId`."""
    head, *tail = name.split("_")
    return head + "".join(part.capitalize() for part in tail)


# -- values within events ------------------------------------------------------------------------


def error_document(error: WorkflowError) -> Document:
    """ERROR of CONTRACT 6."""
    return {
        "stepId": error.step_id,
        "serviceName": error.service_name,
        "errorCode": error.error_code,
        "message": error.message,
        "errorType": error.error_type,
        "recoverable": error.recoverable,
        "attempt": error.attempt,
        "occurredAt": rfc3339(error.occurred_at) if error.occurred_at else None,
    }


def error_from(document: Document) -> WorkflowError:
    occurred_at = document.get("occurredAt")
    return WorkflowError(
        step_id=document.get("stepId"),
        service_name=document.get("serviceName"),
        error_code=document["errorCode"],
        message=document["message"],
        error_type=document["errorType"],
        recoverable=document["recoverable"],
        attempt=document.get("attempt"),
        occurred_at=parse_time(occurred_at) if occurred_at else None,
    )


def _step_request(request: StepRequest) -> Document:
    document: Document = {
        "workflowId": request.workflow_id,
        "stepId": request.step_id,
        "service": request.service,
        "operation": request.operation,
        "input": request.input,
        "context": request.context,
        "attempt": request.attempt,
        "round": request.round,
        "deadline": rfc3339(request.deadline),
    }
    if request.strategy is not None:
        document["strategy"] = request.strategy
        document["stepOutput"] = request.step_output
        document["snapshot"] = request.snapshot
        document["reason"] = request.reason
    return document


def _step_request_from(document: Document) -> StepRequest:
    return StepRequest(
        workflow_id=document["workflowId"],
        step_id=document["stepId"],
        service=document["service"],
        operation=document["operation"],
        input=document["input"],
        context=document["context"],
        attempt=document["attempt"],
        round=document["round"],
        deadline=parse_time(document["deadline"]),
        strategy=document.get("strategy"),
        step_output=document.get("stepOutput"),
        snapshot=document.get("snapshot"),
        reason=document.get("reason"),
    )


def _seal_request(request: SealRequest) -> Document:
    return {
        "workflowId": request.workflow_id,
        "stepId": request.step_id,
        "service": request.service,
        "operation": request.operation,
        "round": request.round,
        "context": request.context,
    }


def _seal_request_from(document: Document) -> SealRequest:
    return SealRequest(
        workflow_id=document["workflowId"],
        step_id=document["stepId"],
        service=document["service"],
        operation=document["operation"],
        round=document["round"],
        context=document["context"],
    )


#: Python type of a field -> how it is written and read; others are JSON already.
_CONVERTERS: dict[Any, tuple[_Convert, _Convert]] = {
    datetime: (rfc3339, parse_time),
    datetime | None: (rfc3339, parse_time),
    WorkflowError: (error_document, error_from),
    StepRequest: (_step_request, _step_request_from),
    SealRequest: (_seal_request, _seal_request_from),
    WorkflowPriority: (lambda priority: priority.value, WorkflowPriority),
    tuple[str, ...]: (list, tuple),
    tuple[int, ...]: (list, tuple),
    tuple[Mapping[str, str], ...]: (list, tuple),
}

#: Attribute, key, how to write, how to read, and whether the class has no default for it.
_Field = tuple[str, str, _Convert | None, _Convert | None, bool]


def _fields_of(cls: type[Any], leave_out: Iterable[str]) -> tuple[_Field, ...]:
    hints = get_type_hints(cls)
    described: list[_Field] = []
    for item in fields(cls):
        if item.name not in leave_out:
            write, read = _CONVERTERS.get(hints[item.name], (None, None))
            required = item.default is MISSING and item.default_factory is MISSING
            described.append((item.name, camel(item.name), write, read, required))
    return tuple(described)


#: Stated among the common fields of every event.
_COMMON = ("occurred_at", "actor")
#: Of the facts, those that stand among the common fields.
_FACTS_IN_COMMON = ("definition", "tenant", "correlation_id")
_FACTS = _fields_of(StartFacts, _FACTS_IN_COMMON)

CATALOG: Mapping[str, type[DomainEvent]] = {event.TYPE: event for event in WORKFLOW_EVENTS}
_FIELDS: Mapping[type[DomainEvent], tuple[_Field, ...]] = {
    event: _fields_of(event, (*_COMMON, "facts")) for event in WORKFLOW_EVENTS
}
_WITH_FACTS = frozenset(
    event for event in WORKFLOW_EVENTS if any(item.name == "facts" for item in fields(event))
)


def _write(document: Document, described: tuple[_Field, ...], value: Any) -> None:
    for name, key, write, _, _ in described:
        inner = getattr(value, name)
        if inner is not None:
            document[key] = inner if write is None else write(inner)


def _read(document: Document, described: tuple[_Field, ...]) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for name, key, _, read, required in described:
        inner = document.get(key)
        if inner is not None:
            found[name] = inner if read is None else read(inner)
        elif required:
            # Nulls are left out of events, so what is missing was None.
            found[name] = None
    return found


# -- events --------------------------------------------------------------------------------------


def record_refusal(
    event: CommandRejected, workflow_id: str, inbox_id: str, version: int
) -> RecordedEvent:
    """A refusal where there is no instance: version 0 of the id that the command named (CONTRACT 6)."""
    document: Document = {
        "eventId": f"{inbox_id}:{version}",
        "eventType": event.NAME,
        "occurredAt": rfc3339(event.occurred_at),
        "aggregateId": workflow_id,
        "workflowInstanceId": workflow_id,
        "version": 0,
        "actor": event.actor,
    }
    _write(document, _FIELDS[CommandRejected], event)
    return RecordedEvent(event.TYPE, document, event.KIND)


def record_claim(partition: int, inbox_id: str, version: int, at: datetime) -> RecordedEvent:
    """An engine claimed the partition, as version `version` of its inbox aggregate."""
    document: Document = {
        "eventId": f"{inbox_id}:{version}",
        "eventType": "PartitionClaimedEvent",
        "occurredAt": rfc3339(at),
        "partition": partition,
    }
    return RecordedEvent(PARTITION_CLAIMED, document)


def record(event: DomainEvent, instance: WorkflowInstance, version: int) -> RecordedEvent:
    """The event as it is stored and published, as version `version` of the instance."""
    facts = instance.facts
    definition = facts.definition
    document: Document = {
        "eventId": f"{instance.id}:{version}",
        "eventType": event.NAME,
        "occurredAt": rfc3339(event.occurred_at),
        "aggregateId": instance.id,
        "workflowInstanceId": instance.id,
        "version": version,
        "tenant": facts.tenant,
        "definition": definition.name,
        "definitionVersion": definition.version,
        "workflowType": str(definition.type),
        "actor": event.actor,
    }
    if facts.correlation_id is not None:
        document["correlationId"] = facts.correlation_id
    if facts.traceparent is not None:
        document["traceparent"] = facts.traceparent
    cls = type(event)
    if cls in _WITH_FACTS:
        _write(document, _FACTS, facts)
    _write(document, _FIELDS[cls], event)
    return RecordedEvent(event.TYPE, document, event.KIND)


def restore(recorded: RecordedEvent, definition_of: DefinitionOf) -> DomainEvent:
    """The event of a record. Raises KeyError for a type that is not in the catalog."""
    cls = CATALOG[recorded.type]
    document = recorded.data
    values = _read(document, _FIELDS[cls])
    if cls in _WITH_FACTS:
        values["facts"] = facts_from(document, definition_of)
    return cls(occurred_at=parse_time(document["occurredAt"]), actor=document["actor"], **values)


def facts_from(document: Document, definition_of: DefinitionOf) -> StartFacts:
    """The facts of a start from an event's or an instance's document."""
    return StartFacts(
        definition=definition_of(document["definition"], document["definitionVersion"]),
        tenant=document["tenant"],
        correlation_id=document.get("correlationId"),
        **_read(document, _FACTS),
    )

"""Events as documents. Event types come from the kinds of aggregates, never from class names.

A recorded event holds the whole published document: the fields common to all events and the event's own.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping
from datetime import datetime
from functools import cache, lru_cache
from typing import Any, NamedTuple, TypeVar

import orjson
from conveyor.times import rfc3339
from msgspec.structs import fields

from application.aggregates.aggregate import Aggregate
from application.codec.times import parse_time
from application.ports import DefinitionOf, Document, RecordedEvent
from domain.aggregate.event import DomainEvent
from domain.aggregate.kind import HistoryError, Kind, State
from domain.workflow.events import (
    SealRequest,
    StartFacts,
    StepRequest,
)
from domain.workflow.failure import WorkflowError
from domain.workflow.status import WorkflowPriority

S = TypeVar("S", bound=State)
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


#: Python type of a field -> how it is written and read. Other types are already JSON.
_CONVERTERS: dict[Any, tuple[_Convert, _Convert]] = {
    datetime: (rfc3339, parse_time),
    datetime | None: (rfc3339, parse_time),
    WorkflowError: (error_document, error_from),
    WorkflowError | None: (error_document, error_from),
    StepRequest: (_step_request, _step_request_from),
    SealRequest: (_seal_request, _seal_request_from),
    WorkflowPriority: (lambda priority: priority.value, WorkflowPriority),
    tuple[str, ...]: (list, tuple),
    tuple[int, ...]: (list, tuple),
    tuple[Mapping[str, str], ...]: (list, tuple),
}

#: Attribute, key, how to write, how to read, and whether the class has no default for it.
_Field = tuple[str, str, _Convert | None, _Convert | None, bool]


def _described(cls: type[Any], leave_out: Iterable[str]) -> tuple[_Field, ...]:
    described: list[_Field] = []
    for item in fields(cls):
        if item.name not in leave_out:
            write, read = _CONVERTERS.get(item.type, (None, None))
            described.append((item.name, camel(item.name), write, read, item.required))
    return tuple(described)


class _Own(NamedTuple):
    """The fields that are specific to one class of events."""

    fields: tuple[_Field, ...]
    #: Includes the fields of `StartFacts`, on the same level.
    has_facts: bool


#: The facts that are among the common fields.
_FACTS_IN_COMMON = ("definition", "tenant", "correlation_id")
_FACTS = _described(StartFacts, _FACTS_IN_COMMON)


@cache
def _fields_of(cls: type[DomainEvent]) -> _Own:
    has_facts = any(item.name == "facts" for item in fields(cls))
    return _Own(_described(cls, ("occurred_at", "actor", "facts")), has_facts)


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
            # Events omit nulls, so a missing field was None.
            found[name] = None
    return found


# -- events --------------------------------------------------------------------------------------


def record(aggregate: Aggregate[S], event: DomainEvent, state: S, version: int) -> RecordedEvent:
    """The event as it is stored and published, as version `version` of the aggregate."""
    occurred_at = rfc3339(event.occurred_at)
    document: Document = {
        "eventId": f"{state.id}:{version}",
        "eventType": event.NAME,
        "occurredAt": occurred_at,
        **aggregate.common(state, event, version),
    }
    own = _fields_of(type(event))
    if own.has_facts:
        _write(document, _FACTS, event.facts)  # pyright: ignore[reportAttributeAccessIssue, reportUnknownArgumentType, reportUnknownMemberType]
    _write(document, own.fields, event)
    # A message to another aggregate has the time of the event that caused it (PROTOCOL rule 26).
    sends = tuple(
        {"to": send.to, "type": send.type, "data": {**send.data, "at": occurred_at}}
        for send in aggregate.kind.sends(state, event)
    )
    return RecordedEvent(event.TYPE, orjson.dumps(document), event.KIND, sends)


def restore(kind: Kind[Any], recorded: RecordedEvent, definition_of: DefinitionOf) -> DomainEvent:
    """The event of a record. Raises HistoryError for a type that the kind does not have."""
    cls = catalog_of(kind).get(recorded.type)
    if cls is None:
        raise HistoryError(
            f"{recorded.type} is an event that this Conveyor does not know: a newer one wrote it; upgrade this one"
        )
    document = recorded.data
    own = _fields_of(cls)
    values = _read(document, own.fields)
    if own.has_facts:
        values["facts"] = facts_from(document, definition_of)
    return cls(
        occurred_at=parse_time(document["occurredAt"]),
        actor=document.get("actor", "system"),
        **values,
    )


@lru_cache
def catalog_of(kind: Kind[Any]) -> Mapping[str, type[DomainEvent]]:
    """Every event of the kind by its type."""
    return {event.TYPE: event for event in kind.events}


def facts_from(document: Document, definition_of: DefinitionOf) -> StartFacts:
    """The facts of a start from an event's or an instance's document."""
    return StartFacts(
        definition=definition_of(document["definition"], document["definitionVersion"]),
        tenant=document["tenant"],
        correlation_id=document.get("correlationId"),
        **_read(document, _FACTS),
    )

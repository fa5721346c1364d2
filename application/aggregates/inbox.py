"""The inboxes of partitions as documents. Their events are written by the engine itself, not caused by messages."""

from __future__ import annotations

from application.aggregates.aggregate import Aggregate
from application.ports import DefinitionOf, Document
from domain.aggregate.event import DomainEvent
from domain.inbox import INBOX as KIND
from domain.inbox import InboxState, RefusedUnknown


def _common(_: InboxState, event: DomainEvent, __: int) -> Document:
    """A refusal is published as an event of the workflow that the command named, at version 0 (CONTRACT 6)."""
    if not isinstance(event, RefusedUnknown):
        return {}
    return {
        "aggregateId": event.aggregate_id,
        "workflowInstanceId": event.aggregate_id,
        "version": 0,
        "actor": event.actor,
    }


def _to_document(state: InboxState, partition: int, memory: Document) -> Document:
    return {
        "_id": state.id,
        "partition": partition,
        "version": state.version,
        "engine": memory,
    }


def _from_document(document: Document, _: DefinitionOf) -> InboxState:
    return InboxState(id=document["_id"], version=document["version"])


INBOX: Aggregate[InboxState] = Aggregate(
    kind=KIND,
    collection="inbox_positions",
    common=_common,
    to_document=_to_document,
    from_document=_from_document,
    is_coordinator=True,
)

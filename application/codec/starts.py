"""Starts: the only command that may have no workflow id yet and that needs a definition."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Any

import orjson
from conveyor import wire
from conveyor.messages import Message
from conveyor.payloads import InvalidPayload, document_of, parse

from application.aggregates.aggregate import DefinitionKey, Inbound, Resolved, Unresolved
from application.codec.addressing import actor_of, named_workflow, refused, require_same
from application.codec.references import definition_named
from application.codec.times import parse_time
from application.ports import LookUpDefinition
from domain.aggregate.ids import derived_id
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import WorkflowDefinition
from domain.workflow.commands import StartWorkflow
from domain.workflow.events import StartFacts
from domain.workflow.status import WorkflowPriority


@dataclass(frozen=True, slots=True)
class StartIntent(Unresolved):
    """A start whose definition was not looked up yet."""

    workflow_id: str
    #: `name` or `name-v1`.
    reference: str
    version: int | None
    data: wire.StartData
    idempotency_key: str | None
    traceparent: str | None
    actor: str
    #: Hash of the raw payload; None without an idempotency key, under which alone it is compared.
    payload_hash: str

    async def resolve(self, look_up: LookUpDefinition) -> Resolved:
        definition = await look_up(self.reference, self.version)
        basis = None if definition is None else DefinitionKey(definition.name, definition.version)
        return Resolved(start_command(self, definition), basis)


def read_start(message: Message) -> Inbound:
    """The start, addressed to the id that it names or that follows from its key (PROTOCOL rule 17)."""
    named = named_workflow(message)
    try:
        data = parse(wire.StartData, message.data)
    except InvalidPayload as error:
        rejection = refused(error)
        return Inbound(named or derived_id("default", "", message.message_id), rejection)
    attribute = message.extensions.get("idempotencykey")
    if data.idempotency_key and attribute:
        require_same("the idempotency key", data=data.idempotency_key, attribute=attribute)
    key = data.idempotency_key or attribute
    name, version = definition_reference(data)
    workflow_id = named or derived_id(data.tenant, name, key or message.message_id)
    intent = StartIntent(
        workflow_id=workflow_id,
        reference=name,
        version=version,
        data=data,
        idempotency_key=key,
        traceparent=message.extensions.get("traceparent"),
        actor=actor_of(message),
        payload_hash=payload_hash(message.data) if key else "",
    )
    return Inbound(workflow_id, intent)


def definition_reference(data: wire.StartData) -> tuple[str, int | None]:
    """The name and version that a start asks for. If they contradict each other, there is no such definition."""
    reference = data.definition_reference
    return definition_named(reference, data.version) or (reference, data.version)


#: Fields that do not count: those that name the definition, which the derived id contains and a caller may omit or
#: resolve, and the correlation id, which a proxy may change.
_NOT_HASHED = ("definition", "definitionId", "version", "correlationId")


def payload_hash(data: bytes) -> str:
    """Equal for equal payloads, whatever the order of their fields (PROTOCOL rule 17)."""
    document: dict[str, Any] = document_of(data)
    for name in _NOT_HASHED:
        document.pop(name, None)
    canonical = orjson.dumps(document, option=orjson.OPT_SORT_KEYS)
    return hashlib.blake2b(canonical, digest_size=16).hexdigest()


#: Fields of a start that this version does not support yet.
_NOT_SUPPORTED = ("lock_key", "release_queue")


def start_command(
    intent: StartIntent, definition: WorkflowDefinition | None
) -> StartWorkflow | Rejection:
    """The start with its definition, or the reason why it is refused."""
    data = intent.data
    if definition is None:
        wanted = (
            intent.reference if intent.version is None else f"{intent.reference} v{intent.version}"
        )
        return Rejection(
            RejectionCode.UNKNOWN_DEFINITION,
            f"no definition '{wanted}' is registered; `conveyor definitions list` shows those that are",
        )
    for name in _NOT_SUPPORTED:
        if getattr(data, name) is not None:
            field_name = wire.StartData.model_fields[name].alias or name
            return Rejection(
                RejectionCode.INVALID_INPUT,
                f"{field_name}: not supported by this version of Conveyor; leave it out",
                ({"path": field_name, "message": "not supported by this version"},),
            )
    given = data.timeout_seconds
    facts = StartFacts(
        definition=definition,
        input=data.input,
        tenant=data.tenant,
        correlation_id=data.correlation_id,
        priority=WorkflowPriority(data.priority),
        triggered_by=data.triggered_by or "system",
        user_id=data.user_id,
        wallet=data.wallet,
        labels=data.labels,
        metadata=data.metadata,
        due_at=parse_time(data.due_at) if data.due_at else None,
        timeout_seconds=definition.timeout_seconds if given is None else given,
        max_retries=definition.max_retries if data.max_retries is None else data.max_retries,
        idempotency_key=intent.idempotency_key,
        payload_hash=intent.payload_hash,
        traceparent=intent.traceparent,
    )
    return StartWorkflow(workflow_id=intent.workflow_id, facts=facts, actor=intent.actor)

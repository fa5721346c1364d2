"""Starts a workflow: checks the start as far as possible, sends it, and waits for the outcome."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import Mapping
from typing import Any, cast

from conveyor import types, wire
from conveyor.messages import Message
from conveyor.payloads import InvalidPayload, document_of, parse

from application.access import Caller
from application.codec.starts import (
    StartIntent,
    definition_reference,
    payload_hash,
    start_command,
)
from application.definitions import DefinitionRegistry
from application.gateway import CommandGateway, Outcome
from application.ports import Document, Unavailable
from application.queries import WorkflowReader
from application.use_cases.control import DECISION_SECONDS
from application.use_cases.refusal import (
    FORBIDDEN,
    TENANT_UNKNOWN,
    Refused,
    key_faults,
    refused_by,
    refused_for,
)
from application.use_cases.visibility import is_visible
from domain.aggregate.ids import derived_id, id_fault
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import WorkflowDefinition
from domain.values import Value
from domain.workflow.status import WorkflowStatus

Fault = Mapping[str, str]


class StartWorkflowRequest(wire.StartData):
    """Start data with the workflow's id. Without an id, one is created."""

    id: str | None = None


class Started(Value):
    """A start that was not refused."""

    workflow_id: str
    command_id: str
    #: The workflow's current state. None if the engine has not decided yet, or if it cannot be read.
    resource: Document | None
    #: The start repeats an earlier one.
    is_duplicate: bool
    #: As given in the body.
    correlation_id: str | None


class _Proved(Value):
    """A start that has no faults, as far as can be known before the engine decides."""

    workflow_id: str
    #: The command's data; it names the definition's version.
    data: Document
    idempotency_key: str | None
    #: As given in the body.
    correlation_id: str | None


class StartWorkflow:
    """Starts a workflow in its caller's name."""

    def __init__(
        self, gateway: CommandGateway, reader: WorkflowReader, registry: DefinitionRegistry
    ) -> None:
        self._gateway = gateway
        self._reader = reader
        self._registry = registry

    async def __call__(
        self,
        caller: Caller,
        body: bytes,
        *,
        idempotency_key: str | None = None,
        wait_seconds: float = 0.0,
    ) -> Started:
        """`body` is a `StartWorkflowRequest` in JSON; the key counts as its `idempotencyKey`.

        Waits for the engine's decision, and `wait_seconds` from now for the workflow's end. Raises
        MalformedEvent (NOT_JSON), Refused with every fault, Unavailable.
        """
        loop = asyncio.get_running_loop()
        wait_until = loop.time() + wait_seconds
        asked = await self._proved(caller, body, idempotency_key)
        command = self._gateway.message(
            types.START,
            asked.workflow_id,
            asked.data,
            actor=caller.actor,
            traceparent=caller.traceparent,
        )
        with self._gateway.ending(asked.workflow_id) as end:
            outcome = await self._gateway.send(command, max(wait_seconds, DECISION_SECONDS))
            try:
                if not outcome.is_known:
                    outcome = await self._stored_outcome(asked, command)
                if outcome.is_rejected and outcome.event is not None:
                    raise _refusal(caller, outcome.event)
                resource = await self._read(caller, asked.workflow_id)
                if resource is not None and _is_active(resource) and wait_seconds:
                    await asyncio.wait([end], timeout=max(0.0, wait_until - loop.time()))
                    resource = await self._read(caller, asked.workflow_id)
            except Unavailable:
                # The command was sent, so a failed read must not look like a refusal.
                resource = None
        return Started(
            workflow_id=asked.workflow_id,
            command_id=command.id,
            resource=resource,
            is_duplicate=outcome.is_duplicate,
            correlation_id=asked.correlation_id,
        )

    async def _read(self, caller: Caller, workflow_id: str) -> Document | None:
        """The resource, if there is one that the caller sees. Raises Unavailable."""
        workflow = await self._reader.get(workflow_id)
        return workflow if workflow is not None and is_visible(caller, workflow) else None

    async def _stored_outcome(self, asked: _Proved, command: Message) -> Outcome:
        """The outcome in the history of a start that no event reported in time. Raises Refused."""
        page = await self._reader.history(asked.workflow_id, limit=1)
        if not page["items"]:
            return Outcome(asked.workflow_id, command.id, None)
        first: Document = page["items"][0]
        event: Document = first["data"]
        if first["causationId"] == command.id:
            return Outcome(asked.workflow_id, command.id, event)
        key = asked.idempotency_key
        if key is None or event.get("idempotencyKey") != key:
            detail = f"{asked.workflow_id} exists; choose another id or leave it out"
            raise Refused(RejectionCode.WORKFLOW_EXISTS, detail)
        if event.get("payloadHash") != payload_hash(command.data):
            detail = f"the idempotency key '{key}' already started {asked.workflow_id} with another payload"
            raise Refused(RejectionCode.IDEMPOTENCY_CONFLICT, detail)
        return Outcome(asked.workflow_id, command.id, event, is_duplicate=True)

    # Proving -------------------------------------------------------------------------------------

    async def _proved(self, caller: Caller, body: bytes, key: str | None) -> _Proved:
        try:
            document: Any = document_of(body)
        except InvalidPayload as invalid:
            raise refused_for(invalid.faults) from invalid
        faults: list[Fault] = []
        asked: StartWorkflowRequest | None = None
        try:
            asked = parse(StartWorkflowRequest, body)
        except InvalidPayload as invalid:
            faults.extend(invalid.faults)
        fields = cast(Document, document) if isinstance(document, dict) else {}
        if caller.is_restricted:
            fields, asked = _within(caller, fields, asked)
        faults.extend(_id_faults(fields))
        faults.extend(_key_faults(key, fields))
        definition, unknown = await self._definition(fields, asked)
        faults.extend(unknown)
        if definition is not None:
            faults.extend(_faults_under(definition, fields, asked))
        if unknown:
            raise refused_for(faults, RejectionCode.UNKNOWN_DEFINITION)
        if faults or asked is None or definition is None:
            raise refused_for(faults)
        return await self._command(caller, asked, fields, key, definition)

    async def _definition(
        self, fields: Document, asked: StartWorkflowRequest | None
    ) -> tuple[WorkflowDefinition | None, list[Fault]]:
        """The requested definition. It is looked up even if the request has other faults."""
        reference: Any
        version: Any
        if asked is not None:
            reference, version = definition_reference(asked)
        else:
            reference = fields.get("definition") or fields.get("definitionId")
            version = fields.get("version")
            if not isinstance(reference, str) or not (version is None or _is_version(version)):
                return None, []
        definition = await self._registry.get(reference, version)
        if definition is not None:
            return definition, []
        name = reference if version is None else f"{reference} v{version}"
        path = "definitionId" if fields.get("definition") is None else "definition"
        message = f"no definition '{name}' is registered; `conveyor definitions list` shows those that are"
        return None, [{"path": path, "message": message}]

    async def _command(
        self,
        caller: Caller,
        asked: StartWorkflowRequest,
        fields: Document,
        given_key: str | None,
        definition: WorkflowDefinition,
    ) -> _Proved:
        data = {name: value for name, value in fields.items() if name not in ("id", "definitionId")}
        data["definition"] = definition.name
        data["version"] = definition.version
        key = given_key if given_key is not None else asked.idempotency_key
        if key is not None:
            data["idempotencyKey"] = key
        workflow_id = asked.id
        if workflow_id is None and key is not None:
            workflow_id = derived_id(asked.tenant, definition.name, key)
        elif workflow_id is None:
            workflow_id = str(uuid.uuid4())
        if asked.correlation_id is None and caller.correlation_id is not None:
            known = await self._read(caller, workflow_id) if key is not None else None
            # A repetition is the same request, even if a proxy changed its correlation id.
            is_repeat = known is not None and known["idempotencyKey"] == key
            data["correlationId"] = (
                known["correlationId"] if known and is_repeat else caller.correlation_id
            )
        return _Proved(
            workflow_id=workflow_id,
            data=data,
            idempotency_key=key,
            correlation_id=asked.correlation_id,
        )


def _within(
    caller: Caller, fields: Document, asked: StartWorkflowRequest | None
) -> tuple[Document, StartWorkflowRequest | None]:
    """The start with the caller's tenant and labels. Raises Refused (TENANT_UNKNOWN, FORBIDDEN) if it names others."""
    tenant = fields.get("tenant", caller.tenant)
    if caller.tenant is not None and isinstance(tenant, str) and tenant != caller.tenant:
        message = f"'{caller.actor}' may start workflows of '{caller.tenant}' only; leave it out"
        raise refused_for([{"path": "tenant", "message": message}], TENANT_UNKNOWN)
    given: Any = fields.get("labels", {})
    labels = cast("dict[str, Any]", given) if isinstance(given, dict) else {}
    for name, value in caller.labels:
        if labels.get(name, value) != value:
            message = f"'{caller.actor}' may start workflows with '{value}' only; leave it out"
            raise refused_for([{"path": f"labels.{name}", "message": message}], FORBIDDEN)
    if asked is None:
        return fields, None
    own = {
        "tenant": asked.tenant if caller.tenant is None else caller.tenant,
        "labels": {**asked.labels, **dict(caller.labels)},
    }
    return {**fields, **own}, asked.model_copy(update=own)


def _refusal(caller: Caller, event: Document) -> Refused:
    """As the engine reports it; of a workflow that the caller may not see, that its id is taken."""
    if caller.is_restricted and event["code"] == RejectionCode.WORKFLOW_EXISTS:
        return Refused(event["code"], "this id is taken; choose another or leave it out")
    return refused_by(event)


def _id_faults(fields: Document) -> list[Fault]:
    given = fields.get("id")
    fault = id_fault(given) if isinstance(given, str) else None
    return [] if fault is None else [{"path": "id", "message": fault}]


def _key_faults(given: str | None, fields: Document) -> list[Fault]:
    if given is None:
        return []
    if faults := key_faults(given):
        return faults
    if fields.get("idempotencyKey", given) != given:
        message = "differs from the header Idempotency-Key; give one of the two"
        return [{"path": "idempotencyKey", "message": message}]
    return []


def _faults_under(
    definition: WorkflowDefinition, fields: Document, asked: StartWorkflowRequest | None
) -> list[Fault]:
    """Faults of the input under the definition, and options that the engine does not support."""
    faults: list[Fault] = []
    input = fields.get("input", {})
    if isinstance(input, dict):
        faults.extend(definition.input_faults(cast(Document, input)))
    if asked is not None:
        intent = StartIntent(
            workflow_id="",
            reference=definition.name,
            version=definition.version,
            data=asked,
            idempotency_key=None,
            traceparent=None,
            actor="",
            payload_hash="",
        )
        command = start_command(intent, definition)
        if isinstance(command, Rejection):
            faults.extend(command.faults)
    return faults


def _is_version(given: object) -> bool:
    if not isinstance(given, int) or isinstance(given, bool):
        return False
    return 1 <= given <= wire.COUNT_MAX


def _is_active(resource: Document) -> bool:
    return WorkflowStatus(resource["status"]).is_active

"""The body of `POST /api/v1/workflows`, checked as a whole before anything is sent."""

from __future__ import annotations

import uuid
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, cast

from conveyor.payloads import InvalidPayload, parse
from conveyor.wire import StartData
from starlette.requests import Request

from adapters.rest.bodies import json_of, read_body
from adapters.rest.correlation import answer_with, given_correlation_id
from adapters.rest.problems import faulty
from application.codec.commands import Inbound, StartIntent, definition_reference, start_command
from application.definitions.registry import DefinitionRegistry
from application.ports import Document
from application.queries import WorkflowReader
from domain.aggregate.ids import derived_id, id_fault
from domain.aggregate.rejection import Rejection, RejectionCode
from domain.definition.definition import WorkflowDefinition

KEY_HEADER = "Idempotency-Key"
_KEY_LENGTH_MAX = 255

Fault = Mapping[str, Any]


class StartWorkflowRequest(StartData):
    """Start data with the id that the workflow shall have; without one it gets one."""

    id: str | None = None


@dataclass(frozen=True, slots=True, kw_only=True)
class StartRequest:
    """A start that nothing is wrong with, as far as can be known before the engine decides."""

    workflow_id: str
    #: The command's data; it names the definition's version.
    data: Document
    idempotency_key: str | None


async def read_start(
    request: Request, registry: DefinitionRegistry, reader: WorkflowReader
) -> StartRequest:
    """Raises Problem (400, 413, or 422 with every fault), Unavailable."""
    body = await read_body(request)
    document: Any = json_of(body)
    faults: list[Fault] = []
    asked: StartWorkflowRequest | None = None
    try:
        asked = parse(StartWorkflowRequest, body)
    except InvalidPayload as invalid:
        faults.extend(invalid.faults)
    fields = cast(Document, document) if isinstance(document, dict) else {}
    faults.extend(_id_faults(fields))
    key = request.headers.get(KEY_HEADER)
    faults.extend(_key_faults(key, fields))
    definition, unknown = await _definition(fields, asked, registry)
    faults.extend(unknown)
    if definition is not None:
        faults.extend(_faults_under(definition, fields, asked))
    if unknown:
        raise faulty(faults, RejectionCode.UNKNOWN_DEFINITION)
    if faults or asked is None or definition is None:
        raise faulty(faults)
    return await _start_request(request, asked, fields, key, definition, reader)


# -- faults --------------------------------------------------------------------------------------


def _id_faults(fields: Document) -> list[Fault]:
    given = fields.get("id")
    fault = id_fault(given) if isinstance(given, str) else None
    return [] if fault is None else [{"path": "id", "message": fault}]


def _key_faults(header: str | None, fields: Document) -> list[Fault]:
    if header is None:
        return []
    if not 0 < len(header) <= _KEY_LENGTH_MAX:
        message = f"has {len(header)} characters; 1 to {_KEY_LENGTH_MAX} are possible"
        return [{"path": KEY_HEADER, "message": message}]
    if fields.get("idempotencyKey", header) != header:
        message = f"differs from the header {KEY_HEADER}; give one of the two"
        return [{"path": "idempotencyKey", "message": message}]
    return []


async def _definition(
    fields: Document, asked: StartWorkflowRequest | None, registry: DefinitionRegistry
) -> tuple[WorkflowDefinition | None, list[Fault]]:
    """The definition that is asked for, looked up also if something else is wrong."""
    version: Any
    if asked is not None:
        reference, version = definition_reference(asked)
    else:
        reference = fields.get("definition") or fields.get("definitionId")
        version = fields.get("version")
        if not isinstance(reference, str) or not isinstance(version, int | None):
            return None, []
    definition = await registry.get(reference, version)
    if definition is not None:
        return definition, []
    name = reference if version is None else f"{reference} v{version}"
    path = "definitionId" if fields.get("definition") is None else "definition"
    message = f"no definition '{name}' is registered; GET /api/v1/definitions lists those that are"
    return None, [{"path": path, "message": message}]


def _faults_under(
    definition: WorkflowDefinition, fields: Document, asked: StartWorkflowRequest | None
) -> list[Fault]:
    """What the definition has against the input, and the engine against what is asked for."""
    faults: list[Fault] = []
    input = fields.get("input", {})
    if isinstance(input, dict):
        faults.extend(definition.input_faults(cast(Document, input)))
    if asked is not None:
        intent = StartIntent(
            reference=definition.name,
            version=definition.version,
            data=asked,
            idempotency_key=None,
            traceparent=None,
            payload_hash="",
        )
        command = start_command(Inbound("", intent), intent, definition)
        if isinstance(command, Rejection):
            faults.extend(command.faults)
    return faults


# -- the command ---------------------------------------------------------------------------------


async def _start_request(
    request: Request,
    asked: StartWorkflowRequest,
    fields: Document,
    header_key: str | None,
    definition: WorkflowDefinition,
    reader: WorkflowReader,
) -> StartRequest:
    data = {name: value for name, value in fields.items() if name not in ("id", "definitionId")}
    data["definition"] = definition.name
    data["version"] = definition.version
    key = header_key if header_key is not None else asked.idempotency_key
    if key is not None:
        data["idempotencyKey"] = key
    workflow_id = asked.id
    if workflow_id is None and key is not None:
        workflow_id = derived_id(asked.tenant, definition.name, key)
    elif workflow_id is None:
        workflow_id = str(uuid.uuid4())
    if asked.correlation_id is not None:
        answer_with(request, asked.correlation_id)
    elif (correlation := given_correlation_id(request.headers)) is not None:
        known = await reader.get(workflow_id) if key is not None else None
        # A repeated request is the same request, whatever a proxy made of its correlation id.
        is_repeat = known is not None and known["idempotencyKey"] == key
        data["correlationId"] = known["correlationId"] if known and is_repeat else correlation
    return StartRequest(workflow_id=workflow_id, data=data, idempotency_key=key)

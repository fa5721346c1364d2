"""What all commands over REST have in common."""

from __future__ import annotations

import re

from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.bodies import json_response
from adapters.rest.problems import no_workflow
from application.ports import Document
from application.queries import WorkflowReader
from domain.aggregate.ids import id_fault

#: How long an answer waits for the engine's decision; after it 202 (CONTRACT 1).
DECISION_SECONDS = 2.0

_TRACEPARENT = re.compile(r"[0-9a-f]{2}-[0-9a-f]{32}-[0-9a-f]{16}-[0-9a-f]{2}")


def known_id(workflow_id: str) -> str:
    """The id from a path. Raises Problem (404) for what no workflow can be called."""
    if id_fault(workflow_id) is not None:
        raise no_workflow(workflow_id)
    return workflow_id


async def resource_of(reader: WorkflowReader, workflow_id: str) -> Document:
    """Raises Problem (404), Unavailable."""
    resource = await reader.get(known_id(workflow_id))
    if resource is None:
        raise no_workflow(workflow_id)
    return resource


def traceparent_of(request: Request) -> str | None:
    """The caller's W3C trace context, if it is one."""
    given = request.headers.get("traceparent", "")
    return given if _TRACEPARENT.fullmatch(given) else None


def location_of(request: Request, *parts: object) -> str:
    """The path of a resource of this API, wherever the application is mounted."""
    root = request.scope.get("root_path", "")
    return "/".join((f"{root}/api/v1", *(str(part) for part in parts)))


def accepted(request: Request, workflow_id: str, command_id: str, status: str | None) -> Response:
    """The command stands on its topic; what becomes of it is not known yet."""
    document: Document = {"id": workflow_id, "commandId": command_id, "status": status}
    headers = {"Location": location_of(request, "workflows", workflow_id)}
    return json_response(document, 202, headers)

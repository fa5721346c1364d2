"""Reading workflows."""

from __future__ import annotations

from typing import Annotated

from fastapi import Query
from starlette.responses import Response

from adapters.rest.bodies import json_response
from adapters.rest.conditions import etag_of
from adapters.rest.dependencies import TheApi, TheCaller, WorkflowId
from adapters.rest.parameters import HistoryParameters, ListParameters, WorkflowParameters
from application.ports import Document
from application.queries import WorkflowReader
from application.use_cases.refusal import no_workflow, refused_for, require_id
from application.use_cases.visibility import visible_only

_STATUS_FIELDS = ("id", "status", "version", "progress", "currentStepId", "compensationStatus")


async def list_workflows(
    parameters: Annotated[ListParameters, Query()], api: TheApi, caller: TheCaller
) -> Response:
    """One page of the list; it may be a second behind (`asOf`)."""
    wanted = visible_only(parameters.as_filter(), caller)
    try:
        page = await api.reader.find(wanted, parameters.limit, parameters.cursor)
    except ValueError as fault:
        raise refused_for([{"path": "cursor", "message": str(fault)}]) from fault
    return json_response(page)


async def get_workflow(
    id: WorkflowId, parameters: Annotated[WorkflowParameters, Query()], api: TheApi
) -> Response:
    """The workflow; never older than any answer given or event published. `ETag` names its version."""
    version = parameters.version
    if version is None:
        resource = await _resource(api.reader, id)
        return json_response(resource, headers=etag_of(resource))
    require_id(id)
    resource = await api.reader.get_at(id, version)
    if resource is None:
        raise no_workflow(id)
    if resource["version"] < version:
        message = f"{id} has the versions 1 to {resource['version']}"
        raise refused_for([{"path": "version", "message": message}])
    return json_response(resource)


async def get_status(id: WorkflowId, api: TheApi) -> Response:
    """How far the workflow is."""
    resource = await _resource(api.reader, id)
    return json_response({name: resource[name] for name in _STATUS_FIELDS})


async def get_history(
    id: WorkflowId, parameters: Annotated[HistoryParameters, Query()], api: TheApi
) -> Response:
    """Every event of the workflow, in order."""
    require_id(id)
    page = await api.reader.history(
        id, parameters.after, parameters.limit, parameters.type, parameters.kind
    )
    if not page["items"]:
        beginning = await api.reader.history(id, limit=1)
        if not beginning["items"]:
            raise no_workflow(id)
    return json_response(page)


async def _resource(reader: WorkflowReader, workflow_id: str) -> Document:
    """Raises Refused (WORKFLOW_NOT_FOUND), Unavailable."""
    require_id(workflow_id)
    resource = await reader.get(workflow_id)
    if resource is None:
        raise no_workflow(workflow_id)
    return resource

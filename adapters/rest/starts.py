"""Starting workflows."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Annotated

from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.api import Api
from adapters.rest.bodies import accepted, json_response, read_json_body
from adapters.rest.correlation import answer_with
from adapters.rest.dependencies import TheApi, TheCaller, location_of
from application.ports import Document
from domain.workflow.status import WorkflowStatus

IdempotencyKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same key with the same body starts one workflow (1 to 255 characters).",
        examples=["order-4711"],
    ),
]


class StartOptions(BaseModel):
    """Query parameters."""

    model_config = ConfigDict(extra="forbid")

    wait: float = Field(
        default=0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="Seconds to wait for the workflow's end before the answer.",
        examples=[30],
    )


async def start_workflow(
    request: Request,
    options: Annotated[StartOptions, Query()],
    api: TheApi,
    caller: TheCaller,
    idempotency_key: IdempotencyKey = None,
) -> Response:
    """Start a workflow.

    201 when the engine has started it, 200 when the same start was made before, 202 when the
    engine has not decided within two seconds. `warnings` name the services that nobody has ever read.
    """
    started = await api.start(
        caller,
        await read_json_body(request),
        idempotency_key=idempotency_key,
        wait_seconds=options.wait,
    )
    answer_with(request, started.correlation_id)
    location = location_of(request, "workflows", started.workflow_id)
    if started.resource is None:
        return accepted(started.workflow_id, started.command_id, WorkflowStatus.PENDING, location)
    status = 200 if started.is_duplicate else 201
    document = {**started.resource, "warnings": await _warnings(started.resource, api)}
    return json_response(document, status, {"Location": location})


async def _warnings(workflow: Document, api: Api) -> Sequence[str]:
    """Why it may wait for ever, though nothing is wrong with the start."""
    if not WorkflowStatus(workflow["status"]).is_active:
        return ()
    return await api.monitor.warnings({step["serviceName"] for step in workflow["steps"]})

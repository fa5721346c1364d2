"""The routes under `/api/v1/workflows`."""

from __future__ import annotations

from typing import Annotated

from fastapi import APIRouter, Query
from starlette.responses import Response

from adapters.rest.api import Api
from adapters.rest.bodies import json_response
from adapters.rest.commands import known_id, resource_of
from adapters.rest.controls import Controls
from adapters.rest.lists import HistoryParameters, ListParameters
from adapters.rest.openapi import PROBLEMS, Answers, answer, json_body
from adapters.rest.problems import faulty, no_workflow
from adapters.rest.starts import Starts

_STATUS_FIELDS = ("id", "status", "version", "progress", "currentStepId", "compensationStatus")


class Workflows:
    """The routes that read."""

    def __init__(self, api: Api) -> None:
        self._reader = api.reader

    async def list_workflows(self, parameters: Annotated[ListParameters, Query()]) -> Response:
        """One page of the list; it may be a second behind (`asOf`)."""
        try:
            page = await self._reader.find(
                parameters.as_filter(), parameters.limit, parameters.cursor
            )
        except ValueError as fault:
            raise faulty([{"path": "cursor", "message": str(fault)}]) from fault
        return json_response(page)

    async def get_workflow(self, id: str) -> Response:
        """The workflow; never older than any answer given or event published."""
        return json_response(await resource_of(self._reader, id))

    async def get_status(self, id: str) -> Response:
        """How far the workflow is."""
        resource = await resource_of(self._reader, id)
        return json_response({name: resource[name] for name in _STATUS_FIELDS})

    async def get_history(
        self, id: str, parameters: Annotated[HistoryParameters, Query()]
    ) -> Response:
        """Every event of the workflow, in order."""
        page = await self._reader.history(
            known_id(id), parameters.after, parameters.limit, parameters.type, parameters.kind
        )
        if not page["items"]:
            beginning = await self._reader.history(id, limit=1)
            if not beginning["items"]:
                raise no_workflow(id)
        return json_response(page)


def workflow_router(api: Api) -> APIRouter:
    router = APIRouter(prefix="/api/v1/workflows", tags=["workflows"], responses=PROBLEMS)
    workflows, starts, controls = Workflows(api), Starts(api), Controls(api)
    decided: Answers = {
        200: answer("WorkflowResponse", "The workflow after the command"),
        202: answer("AcceptedCommand", "Sent; the engine has not decided yet"),
    }
    router.add_api_route(
        "",
        starts.start_workflow,
        methods=["POST"],
        status_code=201,
        responses={
            201: answer("WorkflowResponse", "Started"),
            200: answer("WorkflowResponse", "The same start was made before"),
            202: decided[202],
        },
        openapi_extra=json_body("StartWorkflowRequest"),
    )
    router.add_api_route(
        "", workflows.list_workflows, responses={200: answer("WorkflowPage", "One page")}
    )
    router.add_api_route(
        "/{id}", workflows.get_workflow, responses={200: answer("WorkflowResponse", "The workflow")}
    )
    router.add_api_route(
        "/{id}/status",
        workflows.get_status,
        responses={200: answer("WorkflowStatusResponse", "How far it is")},
    )
    router.add_api_route(
        "/{id}/history",
        workflows.get_history,
        responses={200: answer("HistoryPage", "Events in order")},
    )
    router.add_api_route(
        "/{id}/cancel",
        controls.cancel_workflow,
        methods=["PUT"],
        responses=decided,
        openapi_extra=json_body("CancelWorkflowRequest", required=False),
    )
    router.add_api_route(
        "/{id}/compensate",
        controls.compensate_workflow,
        methods=["PUT"],
        responses=decided,
        openapi_extra=json_body("CompensateWorkflowRequest", required=False),
    )
    return router

"""`PUT /api/v1/workflows/{id}/cancel|compensate`: commands on a workflow, answered with their outcome."""

from __future__ import annotations

from conveyor import types
from conveyor.wire import CancelData, ReasonData
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.api import Api
from adapters.rest.bodies import json_response, read_command
from adapters.rest.commands import DECISION_SECONDS, accepted, known_id, traceparent_of
from adapters.rest.problems import refused
from application.ports import Document, Unavailable


class CancelWorkflowRequest(CancelData):
    """The body, which may be empty; `compensate` overrides the definition's `onCancel`."""


class CompensateWorkflowRequest(ReasonData):
    """The body, which may be empty."""


class Controls:
    """The routes."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def cancel_workflow(self, id: str, request: Request) -> Response:
        """Cancel a workflow that has not ended; what it did is undone where its definition says so."""
        data = await read_command(request, CancelWorkflowRequest)
        return await self._carry_out(request, types.CANCEL, id, data)

    async def compensate_workflow(self, id: str, request: Request) -> Response:
        """Undo what a completed or failed workflow did."""
        data = await read_command(request, CompensateWorkflowRequest)
        return await self._carry_out(request, types.COMPENSATE, id, data)

    async def _carry_out(
        self, request: Request, command_type: str, id: str, data: Document
    ) -> Response:
        """200 with the resource, or 202 when the outcome is not known in time.

        Raises Problem (404, 409, 422), and Unavailable when the command could not be sent.
        """
        gateway = self._api.gateway
        traceparent = traceparent_of(request)
        command = gateway.message(command_type, known_id(id), data, traceparent=traceparent)
        outcome = await gateway.send(command, DECISION_SECONDS)
        if outcome.is_rejected and outcome.event is not None:
            raise refused(outcome.event)
        try:
            resource = await self._api.reader.get(id)
        except Unavailable:
            resource = None
        if resource is None or not outcome.is_known:
            status = resource["status"] if resource is not None else None
            return accepted(request, id, command.id, status)
        return json_response(resource)

"""`POST /api/v1/workflows`: start a workflow and answer with what became of it."""

from __future__ import annotations

import asyncio
from typing import Annotated

from conveyor import types
from conveyor.messages import Message
from fastapi import Header, Query
from pydantic import BaseModel, ConfigDict, Field
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.api import Api
from adapters.rest.bodies import json_response
from adapters.rest.commands import DECISION_SECONDS, accepted, location_of, traceparent_of
from adapters.rest.problems import Problem, refused
from adapters.rest.start_requests import KEY_HEADER, StartRequest, read_start
from application.codec.commands import payload_hash
from application.gateway import Outcome
from application.ports import Document, Unavailable
from domain.aggregate.rejection import RejectionCode
from domain.workflow.status import WorkflowStatus


class StartOptions(BaseModel):
    """Query parameters."""

    model_config = ConfigDict(extra="forbid")

    wait: float = Field(
        default=0,
        ge=0,
        le=60,
        allow_inf_nan=False,
        description="Seconds to wait for the workflow's end before the answer.",
    )


class Starts:
    """The route."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def start_workflow(
        self,
        request: Request,
        options: Annotated[StartOptions, Query()],
        _key: Annotated[str | None, Header(alias=KEY_HEADER)] = None,
        _correlation_id: Annotated[str | None, Header(alias="X-Correlation-ID")] = None,
    ) -> Response:
        """Start a workflow.

        201 when the engine has started it, 200 when the same start was made before, 202 when the
        engine has not decided within two seconds.
        """
        loop = asyncio.get_running_loop()
        wait_until = loop.time() + options.wait
        gateway = self._api.gateway
        asked = await read_start(request, self._api.registry, self._api.reader)
        command = gateway.message(
            types.START, asked.workflow_id, asked.data, traceparent=traceparent_of(request)
        )
        with gateway.ending(asked.workflow_id) as end:
            outcome = await gateway.send(command, max(options.wait, DECISION_SECONDS))
            try:
                if not outcome.is_known:
                    outcome = await self._stored_outcome(asked, command)
                if outcome.is_rejected and outcome.event is not None:
                    raise refused(outcome.event)
                resource = await self._api.reader.get(asked.workflow_id)
                if resource is not None and _is_active(resource) and options.wait:
                    await asyncio.wait([end], timeout=max(0.0, wait_until - loop.time()))
                    resource = await self._api.reader.get(asked.workflow_id)
            except Unavailable:
                # The command was sent: that its outcome cannot be read is no reason to send another.
                resource = None
        if resource is None:
            return accepted(request, asked.workflow_id, command.id, WorkflowStatus.PENDING)
        headers = {"Location": location_of(request, "workflows", asked.workflow_id)}
        return json_response(resource, 200 if outcome.is_duplicate else 201, headers)

    async def _stored_outcome(self, asked: StartRequest, command: Message) -> Outcome:
        """What the history says of a start that no event answered in time. Raises Problem (409)."""
        page = await self._api.reader.history(asked.workflow_id, limit=1)
        if not page["items"]:
            return Outcome(asked.workflow_id, command.id, None)
        first: Document = page["items"][0]
        event: Document = first["data"]
        if first["causationId"] == command.id:
            return Outcome(asked.workflow_id, command.id, event)
        key = asked.idempotency_key
        if key is None or event.get("idempotencyKey") != key:
            detail = f"{asked.workflow_id} exists; choose another id or leave it out"
            raise Problem(409, RejectionCode.WORKFLOW_EXISTS, detail)
        if event.get("payloadHash") != payload_hash(command.data):
            detail = f"the idempotency key '{key}' already started {asked.workflow_id} with another payload"
            raise Problem(409, RejectionCode.IDEMPOTENCY_CONFLICT, detail)
        return Outcome(asked.workflow_id, command.id, event, is_duplicate=True)


def _is_active(resource: Document) -> bool:
    return WorkflowStatus(resource["status"]).is_active

"""The routes under `/api/v1/definitions`."""

from __future__ import annotations

import asyncio

from fastapi import APIRouter
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.api import Api
from adapters.rest.bodies import json_response, read_body
from adapters.rest.commands import location_of
from adapters.rest.definition_body import UnreadableDocument, read_document
from adapters.rest.openapi import PROBLEMS, answer, json_body
from adapters.rest.problems import Problem, faulty
from application.definitions import (
    DefinitionConflict,
    InvalidDefinition,
    compile_definition,
    services_of,
)
from application.ports import Document
from domain.aggregate.rejection import RejectionCode
from domain.definition.faults import Fault

_STATUSES = {"NOT_JSON": 400, "NOT_YAML": 400, "TOO_LARGE": 422}


class Definitions:
    """The routes."""

    def __init__(self, api: Api) -> None:
        self._api = api

    async def list_definitions(self) -> Response:
        """Every version of every definition, by name and version."""
        return json_response({"items": list(await self._api.definitions.all())})

    async def get_definition(self, name: str, version: int) -> Response:
        """The definition as it was registered."""
        document = await self._api.definitions.get(name, version)
        if document is None:
            detail = f"no definition '{name}' has a version {version}"
            raise Problem(404, RejectionCode.UNKNOWN_DEFINITION, detail)
        return json_response(document)

    async def register_definition(self, request: Request) -> Response:
        """Prove a definition safe and register it: 201, or 200 if it is registered as it is."""
        document = await _read(request)
        try:
            definition = compile_definition(document)
            # Topics first: once the definition is known, its steps are sent.
            for service in sorted(services_of(definition)):
                await self._api.ensure_request_topic(service)
            registered = await self._api.registry.register(document)
        except InvalidDefinition as invalid:
            raise faulty([fault_document(fault) for fault in invalid.faults]) from invalid
        except RecursionError as fault:
            raise faulty([{"path": "", "message": "is nested too deeply"}]) from fault
        except DefinitionConflict as conflict:
            raise Problem(409, RejectionCode.DEFINITION_EXISTS, str(conflict)) from conflict
        location = location_of(request, "definitions", definition.name, definition.version)
        status = 201 if registered == "created" else 200
        return json_response(document, status, {"Location": location})


def fault_document(fault: Fault) -> Document:
    """A fault as one of the `errors` of a problem."""
    document: Document = {"path": fault.path, "message": fault.message, "rule": fault.rule.value}
    if fault.step is not None:
        document["step"] = fault.step
    return document


async def _read(request: Request) -> Document:
    body = await read_body(request)
    media_type = request.headers.get("content-type", "")
    try:
        return await asyncio.to_thread(read_document, body, media_type)
    except UnreadableDocument as fault:
        raise Problem(_STATUSES[fault.code], fault.code, f"the body {fault}") from fault


def definition_router(api: Api) -> APIRouter:
    router = APIRouter(prefix="/api/v1/definitions", tags=["definitions"], responses=PROBLEMS)
    definitions = Definitions(api)
    router.add_api_route(
        "",
        definitions.list_definitions,
        responses={200: answer("DefinitionList", "Every version of every definition")},
    )
    router.add_api_route(
        "",
        definitions.register_definition,
        methods=["POST"],
        status_code=201,
        responses={
            201: answer("DefinitionDocument", "Registered"),
            200: answer("DefinitionDocument", "Registered before, with the same content"),
        },
        openapi_extra=json_body("DefinitionDocument", also_yaml=True),
    )
    router.add_api_route(
        "/{name}/{version}",
        definitions.get_definition,
        responses={200: answer("DefinitionDocument", "As it was registered")},
    )
    return router

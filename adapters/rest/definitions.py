"""Registering and reading definitions."""

from __future__ import annotations

import asyncio
from typing import Annotated

from conveyor.wire import COUNT_MAX
from fastapi import Path
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.bodies import json_response, read_body, require_media_type
from adapters.rest.definition_body import UnreadableDocument, read_document
from adapters.rest.dependencies import TheApi, TheCaller, location_of
from adapters.rest.problems import Problem
from application.ports import Document
from domain.aggregate.rejection import RejectionCode

MEDIA_TYPES = (
    "application/json",
    "application/yaml",
    "application/x-yaml",
    "text/yaml",
    "text/x-yaml",
)
_STATUSES = {"NOT_JSON": 400, "NOT_YAML": 400, "TOO_LARGE": 422}

Name = Annotated[str, Path(description="The definition's name.", examples=["order-fulfillment"])]
Version = Annotated[
    int, Path(description="The definition's version.", examples=[1], ge=1, le=COUNT_MAX)
]


async def list_definitions(api: TheApi) -> Response:
    """Every version of every definition, by name and version."""
    return json_response({"items": list(await api.definitions.all())})


async def get_definition(name: Name, version: Version, api: TheApi) -> Response:
    """The definition as it was registered."""
    document = await api.definitions.get(name, version)
    if document is None:
        detail = f"no definition '{name[:100]}' has a version {version}"
        raise Problem(404, RejectionCode.UNKNOWN_DEFINITION, detail)
    return json_response(document)


async def register_definition(request: Request, api: TheApi, caller: TheCaller) -> Response:
    """Prove a definition safe and register it: 201, or 200 if it is registered as it is."""
    document = await _read(request)
    registered = await api.register(caller, document)
    location = location_of(request, "definitions", registered.name, registered.version)
    return json_response(document, 201 if registered.is_new else 200, {"Location": location})


async def _read(request: Request) -> Document:
    media_type = require_media_type(request, MEDIA_TYPES)
    body = await read_body(request)
    try:
        return await asyncio.to_thread(read_document, body, media_type)
    except UnreadableDocument as fault:
        raise Problem(_STATUSES[fault.code], fault.code, str(fault)) from fault

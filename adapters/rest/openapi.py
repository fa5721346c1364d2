"""OpenAPI: routes refer to schemas by name, and `document_schemas` adds the schemas."""

from __future__ import annotations

from typing import Any

from conveyor.definition import DefinitionDocument
from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from adapters.rest import problems, schemas
from adapters.rest.controls import CancelWorkflowRequest, CompensateWorkflowRequest
from adapters.rest.start_requests import StartWorkflowRequest

JsonObject = dict[str, Any]
Answers = dict[int | str, JsonObject]

_REFERENCE = "#/components/schemas/"
_REQUESTS: tuple[type[BaseModel], ...] = (
    StartWorkflowRequest,
    CancelWorkflowRequest,
    CompensateWorkflowRequest,
    DefinitionDocument,
)
_ANSWERS: tuple[type[BaseModel], ...] = (
    schemas.WorkflowResponse,
    schemas.WorkflowPage,
    schemas.WorkflowStatusResponse,
    schemas.HistoryPage,
    schemas.AcceptedCommand,
    schemas.DefinitionList,
    schemas.Up,
    schemas.SystemHealthResponse,
    schemas.ProblemDocument,
)


def _content(schema: str, *media_types: str) -> JsonObject:
    return {media_type: {"schema": {"$ref": _REFERENCE + schema}} for media_type in media_types}


def answer(schema: str, description: str) -> JsonObject:
    """An answer of a route."""
    return {"description": description, "content": _content(schema, "application/json")}


def json_body(schema: str, *, required: bool = True, also_yaml: bool = False) -> JsonObject:
    """The body of a route, which reads it by itself."""
    media_types = ["application/json", *(["application/yaml"] if also_yaml else [])]
    return {"requestBody": {"required": required, "content": _content(schema, *media_types)}}


#: What any route may answer.
PROBLEMS: Answers = {
    status: {
        "description": description,
        "content": _content("ProblemDocument", problems.MEDIA_TYPE),
    }
    for status, description in (("4XX", "Refused"), ("5XX", "Not possible at the moment"))
}


def document_schemas(app: FastAPI) -> None:
    """Complete the application's OpenAPI document with the schemas that its routes refer to."""
    generate = app.openapi

    def openapi() -> JsonObject:
        if app.openapi_schema is None:
            document = generate()
            components = document.setdefault("components", {}).setdefault("schemas", {})
            components.update(_schemas())
        assert app.openapi_schema is not None
        return app.openapi_schema

    app.openapi = openapi


def _schemas() -> JsonObject:
    models: list[tuple[type[BaseModel], JsonSchemaMode]] = [
        *((model, "validation") for model in _REQUESTS),
        *((model, "serialization") for model in _ANSWERS),
    ]
    _, document = models_json_schema(models, ref_template=_REFERENCE + "{model}")
    return document["$defs"]

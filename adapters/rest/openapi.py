"""OpenAPI, read off the table of routes: they refer to schemas by name, and `document_schemas` adds the schemas."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from adapters.rest import problems, schemas
from adapters.rest.routes import ROUTES, Route

JsonObject = dict[str, Any]
Answers = dict[int | str, JsonObject]

_REFERENCE = "#/components/schemas/"
#: What any route may answer.
_PROBLEMS = (("4XX", "Refused"), ("5XX", "Not possible at the moment"))


def _content(model: type[BaseModel], *media_types: str) -> JsonObject:
    schema = {"$ref": _REFERENCE + model.__name__}
    return {media_type: {"schema": schema} for media_type in media_types}


def answers_of(route: Route) -> Answers:
    """What the route answers, and what any route may answer."""
    answers: Answers = {}
    for status, answer in route.answers.items():
        text: JsonObject = {"text/plain": {"schema": {"type": "string"}}}
        content = text if answer.model is None else _content(answer.model, "application/json")
        answers[status] = {"description": answer.description, "content": content}
    for status, description in _PROBLEMS:
        content = _content(schemas.ProblemDocument, problems.MEDIA_TYPE)
        answers[status] = {"description": description, "content": content}
    return answers


def body_of(route: Route) -> JsonObject | None:
    """The body of the route, which reads it by itself."""
    if route.body is None:
        return None
    content = _content(route.body, *route.media_types)
    return {"requestBody": {"required": route.is_body_required, "content": content}}


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
    bodies = {route.body for route in ROUTES} - {None}
    answers = {answer.model for route in ROUTES for answer in route.answers.values()}
    models: dict[type[BaseModel], JsonSchemaMode] = {schemas.ProblemDocument: "serialization"}
    models |= {model: "serialization" for model in answers if model is not None}
    models |= {model: "validation" for model in bodies if model is not None}
    ordered = sorted(models.items(), key=lambda item: item[0].__name__)
    _, document = models_json_schema(ordered, ref_template=_REFERENCE + "{model}")
    return document["$defs"]

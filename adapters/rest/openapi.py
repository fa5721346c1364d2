"""OpenAPI, read off the table of routes: they refer to schemas by name, and `document_schemas` adds the schemas."""

from __future__ import annotations

from typing import Any

from fastapi import FastAPI
from pydantic import BaseModel
from pydantic.json_schema import JsonSchemaMode, models_json_schema

from adapters.rest import problems, schemas
from adapters.rest.glossary import BODIES, GLOSSARY, SCHEMAS
from adapters.rest.routes import ROUTES, Route

JsonObject = dict[str, Any]
Answers = dict[int | str, JsonObject]

_REFERENCE = "#/components/schemas/"
#: Fields that hold one are usually null.
_ERRORS = ("WorkflowErrorResponse",)
#: What any route may answer.
_PROBLEMS = (("4XX", "Refused"), ("5XX", "Not possible at the moment"))


def _content(model: type[BaseModel], *media_types: str) -> JsonObject:
    schema = {"$ref": _REFERENCE + model.__name__}
    return {media_type: {"schema": schema} for media_type in media_types}


def answers_of(route: Route) -> Answers:
    """The responses of the route, and those that every route may give."""
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
            _explain(components)
            _show_examples(document, components)
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


def _explain(schemas: JsonObject) -> None:
    """Give each schema and field what the glossary says of it."""
    for name, schema in schemas.items():
        if name in SCHEMAS:
            schema["description"] = SCHEMAS[name]
        for field, described in schema.get("properties", {}).items():
            entry = GLOSSARY.get(f"{name}.{field}") or GLOSSARY.get(field)
            if entry is not None:
                described["description"] = entry.description
                described["examples"] = [entry.example]


def _show_examples(document: JsonObject, schemas: JsonObject) -> None:
    """Give each body and answer an example, composed of those of its fields."""
    for operations in document["paths"].values():
        for operation in operations.values():
            parts = [*operation["responses"].values()]
            if "requestBody" in operation:
                parts.append(operation["requestBody"])
            for part in parts:
                for content in part.get("content", {}).values():
                    content["example"] = _example(content["schema"], schemas)


def _example(schema: JsonObject, schemas: JsonObject) -> Any:
    reference = schema.get("$ref")
    if reference is None:
        return _example_of_field(schema, schemas)
    name = reference.removeprefix(_REFERENCE)
    if name in BODIES:
        return BODIES[name]
    fields = schemas[name].get("properties", {})
    return {field: _example_of_field(described, schemas) for field, described in fields.items()}


def _example_of_field(described: JsonObject, schemas: JsonObject) -> Any:
    """Its own, or that of the object or list that it holds."""
    examples = described.get("examples", [None])
    if examples[0] is not None:
        return examples[0]
    items: JsonObject = described.get("items", {})
    if "$ref" in items:
        return [_example(items, schemas)]
    for choice in (described, *described.get("anyOf", ())):
        reference = choice.get("$ref", "").removeprefix(_REFERENCE)
        if "properties" in schemas.get(reference, {}) and reference not in _ERRORS:
            return _example(choice, schemas)
    return "# TYPE a gauge" if described.get("type") == "string" else None

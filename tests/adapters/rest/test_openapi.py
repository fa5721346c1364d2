"""The OpenAPI document explains itself: every field, parameter and answer has a description and an example."""

from __future__ import annotations

from collections.abc import Iterator
from typing import Any

import orjson
import pytest
from conveyor import wire
from conveyor.definition import DefinitionDocument
from pydantic import BaseModel, ValidationError

from adapters.rest import schemas
from adapters.rest.glossary import BODIES, GLOSSARY
from application.use_cases.start import StartWorkflowRequest
from tests.adapters.rest.service import Service

Json = dict[str, Any]


@pytest.fixture
async def document(undecided: Service) -> Json:
    return (await undecided.client.get("/openapi.json")).json()


def operations(document: Json) -> Iterator[tuple[str, Json]]:
    for path, methods in document["paths"].items():
        for method, operation in methods.items():
            yield f"{method.upper()} {path}", operation


async def test_every_schema_and_field(document: Json) -> None:
    missing: list[str] = []
    for name, schema in document["components"]["schemas"].items():
        if not schema.get("description"):
            missing.append(name)
        for field, described in schema.get("properties", {}).items():
            if not described.get("description") or "examples" not in described:
                missing.append(f"{name}.{field}")
    assert missing == []


async def test_every_parameter(document: Json) -> None:
    missing = [
        f"{route}: {parameter['name']}"
        for route, operation in operations(document)
        for parameter in operation.get("parameters", [])
        if not parameter.get("description")
        or not (parameter.get("examples") or parameter["schema"].get("examples"))
    ]
    assert missing == []


async def test_every_route_body_and_answer(document: Json) -> None:
    missing: list[str] = []
    for route, operation in operations(document):
        if not operation.get("summary") or not operation.get("description"):
            missing.append(route)
        for status, answer in operation["responses"].items():
            contents = answer.get("content", {}).values()
            if not answer.get("description") or not all("example" in each for each in contents):
                missing.append(f"{route}: {status}")
        bodies = operation.get("requestBody", {}).get("content", {}).values()
        missing += [f"{route}: body" for content in bodies if "example" not in content]
    assert missing == []


async def test_examples_fit_their_schemas(document: Json) -> None:
    """An example that the service would not send, or would refuse, helps nobody."""
    misfits: list[str] = []
    for route, operation in operations(document):
        for answer in operation["responses"].values():
            for content in answer.get("content", {}).values():
                name = content["schema"].get("$ref", "").rpartition("/")[2]
                model = getattr(schemas, name, None)
                if model is not None and not fits(model, _json(content["example"])):
                    misfits.append(f"{route}: {name}")
    models = (StartWorkflowRequest, DefinitionDocument, wire.ReasonData, wire.CancelData)
    misfits += [
        model.__name__
        for model in (*models, wire.SignalData, wire.ExecuteStepData)
        if not fits(model, _json(BODIES[model.__name__]))
    ]

    assert misfits == []


def fits(model: type[BaseModel], example: bytes) -> bool:
    try:
        model.model_validate_json(example)
    except ValidationError:
        return False
    return True


def _json(value: Any) -> bytes:

    return orjson.dumps(value)


async def test_the_glossary_has_nothing_else(document: Json) -> None:
    """An entry that no field uses is a misspelt one."""
    names: set[str] = set()
    for name, schema in document["components"]["schemas"].items():
        for field in schema.get("properties", {}):
            names |= {f"{name}.{field}", field}
    assert set(GLOSSARY) <= names

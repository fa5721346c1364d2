"""The reference of definitions has the fields of the code, and its examples give what they say."""

from __future__ import annotations

import json
import types
from typing import Annotated, Any, Literal, Union, get_args, get_origin, get_type_hints

import pytest
import yaml
from conveyor import definition
from pydantic import BaseModel
from pydantic.alias_generators import to_camel
from pydantic.fields import FieldInfo

from application.definitions.compilation import compile_definition
from application.definitions.expressions import compile_expression
from domain.definition.definition import StepKind
from domain.definition.faults import Rule
from domain.definition.retry import PRESETS
from tests.docs.pages import code_in, first_code, page, rows, section, snippets

NAME = "docs/reference/definition.md"
PAGE = page(NAME)
MODELS: dict[str, type[BaseModel]] = {
    "## Fields of a definition": definition.DefinitionDocument,
    "## Fields of a step": definition.StepDocument,
    "## Fields of a compensation": definition.CompensationDocument,
    "## Fields of a verification": definition.VerificationDocument,
    "## Fields of a retry policy": definition.RetryDocument,
}
#: A field of this type belongs to a later version, which will say more about it.
RESERVED = "any"
KINDS: tuple[tuple[Any, str], ...] = (
    (definition.InputMapping, "mapping"),
    (definition.RetryChoice, "preset or retry policy"),
    (definition.JsonObject, "object"),
    (definition.JsonValue, RESERVED),
    (definition.CompensationDocument, "compensation"),
    (definition.VerificationDocument, "verification"),
    (tuple[definition.StepDocument, ...], "list of steps"),
    (tuple[str, ...], "list of texts"),
    (str, "text"),
    (bool, "boolean"),
    (int, "integer"),
    (float, "number"),
)


def kind_of(annotation: Any) -> str:
    """A type as the page writes it; `X | None` is written as `X`."""
    for known, kind in KINDS:
        if annotation == known:
            return kind
    if get_origin(annotation) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(annotation))
    if get_origin(annotation) is Annotated:
        return kind_of(get_args(annotation)[0])
    assert get_origin(annotation) in (Union, types.UnionType), annotation
    [inner] = [each for each in get_args(annotation) if each is not types.NoneType]
    return kind_of(inner)


def default_of(field: FieldInfo) -> str:
    if field.is_required():
        return "required"
    value = field.get_default(call_default_factory=True)
    if value is None:
        return "none"
    if isinstance(value, definition.RetryDocument):
        assert value == definition.RetryDocument()
        return "`default`"
    return f"`{value}`" if isinstance(value, str) and value else f"`{json.dumps(value)}`"


def kinds_of(model: type[BaseModel]) -> dict[str, str]:
    hints = get_type_hints(model, include_extras=True)
    return {name: kind_of(hints[name]) for name in model.model_fields}


@pytest.mark.parametrize("heading", MODELS)
def test_every_field_is_listed(heading: str) -> None:
    """Each part of a definition has its table, with every field, its type and its default."""
    model = MODELS[heading]
    table = rows(section(PAGE, heading))

    listed = {first_code(cells[0]): (cells[1], cells[2]) for cells in table}

    assert listed == {
        to_camel(name): (kind, default_of(model.model_fields[name]))
        for name, kind in kinds_of(model).items()
        if kind != RESERVED
    }
    assert all(cells[3] for cells in table)


def test_reserved_fields_are_named() -> None:
    """The fields that this version refuses stand under their own heading."""
    reserved = {
        to_camel(name)
        for model in MODELS.values()
        for name, kind in kinds_of(model).items()
        if kind == RESERVED
    }

    assert set(code_in(section(PAGE, "## Reserved fields"))) == reserved


def test_presets_kinds_and_faults_are_those_of_the_code() -> None:
    """Presets with their numbers, kinds of steps, and each code of a fault."""
    presets = {first_code(cells[0]): cells[1:] for cells in rows(section(PAGE, "## Retry presets"))}
    kinds = [first_code(cells[0]) for cells in rows(section(PAGE, "## Kinds"))]
    faults = [first_code(cells[0]) for cells in rows(section(PAGE, "## Faults"))]

    assert presets == {
        name: [str(each) for each in (p.max_retries, p.initial_delay_ms, p.max_delay_ms)]
        for name, p in PRESETS.items()
    }
    assert kinds == [kind.value for kind in StepKind]
    assert faults == [rule.value for rule in Rule]


def test_the_example_is_safe() -> None:
    """The printed definition passes registration."""
    [text] = snippets(NAME, "definition")

    assert compile_definition(yaml.safe_load(text)).name == "ship-order"


def examples() -> list[tuple[str, str]]:
    """Expression and what the page says that it gives."""
    found: list[tuple[str, str]] = []
    for block in snippets(NAME, "expressions"):
        for example in block.strip().split("\n\n"):
            expression, _, value = example.partition("\n=> ")
            found.append((expression, value))
    return found


@pytest.mark.parametrize(("expression", "value"), examples())
def test_the_cookbook(expression: str, value: str) -> None:
    """Each expression gives what stands below it."""
    [document] = snippets(NAME, "document")

    assert compile_expression(expression).evaluate(json.loads(document)) == json.loads(value)


@pytest.mark.parametrize(("expression", "_value"), examples())
def test_the_cookbook_passes_registration(expression: str, _value: str) -> None:
    """A step of the printed definition may have each expression in its input."""
    [text] = snippets(NAME, "definition")
    document = yaml.safe_load(text)
    del document["inputSchema"]
    reader = {"id": "cook", "service": "s", "operation": "o", "kind": "retriable"}
    document["steps"].append({**reader, "input": {"value": expression}})

    assert compile_definition(document).step("cook")

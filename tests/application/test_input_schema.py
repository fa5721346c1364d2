"""Inputs against the schema of their definition."""

from __future__ import annotations

from typing import Any

import pytest

from application.definitions import compile_definition, shipped_definitions
from application.definitions.input_schema import MAX_FAULTS, InputSchema
from application.ports import Document
from tests.documents import document, step


def test_input_faults_of_the_shipped_definition() -> None:
    """Every fault is listed with the path that the caller wrote."""
    (order,) = map(compile_definition, shipped_definitions())

    assert (
        order.input_faults({"orderId": "1", "lines": [{"sku": "a", "quantity": 1}], "x": 1}) == ()
    )
    assert order.input_faults({"lines": []}) == (
        {"path": "input.orderId", "message": "is required"},
        {"path": "input.lines", "message": "must have at least 1 item"},
    )
    wrong = {"orderId": 1, "lines": [{"sku": "a", "quantity": 0}, {"quantity": "2"}]}
    assert list(order.input_faults(wrong)) == [
        {"path": "input.orderId", "message": "must be of type string"},
        {"path": "input.lines[0].quantity", "message": "must be at least 1"},
        {"path": "input.lines[1].sku", "message": "is required"},
        {"path": "input.lines[1].quantity", "message": "must be of type integer"},
    ]


@pytest.mark.parametrize(
    ("schema", "value", "path", "message"),
    [
        (
            {"properties": {}, "additionalProperties": False},
            {"x": 1},
            "input.x",
            "is not a known field",
        ),
        ({"properties": {"n": False}}, {"n": 1}, "input.n", "is not allowed"),
        ({"properties": {"n": {"maximum": 5}}}, {"n": 6}, "input.n", "must be at most 5"),
        (
            {"properties": {"n": {"maxItems": 2}}},
            {"n": [1, 2, 3]},
            "input.n",
            "must have at most 2 items",
        ),
        ({"properties": {"n": {"enum": ["a", "b"]}}}, {"n": "c"}, "input.n", "must be one of a, b"),
        (
            {"properties": {"n": {"minLength": 2}}},
            {"n": "s"},
            "input.n",
            "this value is shorter than 2 characters",
        ),
    ],
)
def test_fault_messages(schema: Document, value: Any, path: str, message: str) -> None:
    """A message says what is asked for and never repeats the value."""
    assert InputSchema(schema).faults(value) == ({"path": path, "message": message},)


def test_faults_are_bounded() -> None:
    """An input that is wrong everywhere still gives an answer that fits into a message."""
    schema = InputSchema({"properties": {"n": {"items": {"type": "string"}}}})

    assert len(schema.faults({"n": list(range(10 * MAX_FAULTS))})) == MAX_FAULTS


def test_without_a_schema_every_input_fits() -> None:
    """Nothing is checked that the author did not ask for."""
    assert compile_definition(document(step("a"))).input_faults({"anything": [None]}) == ()

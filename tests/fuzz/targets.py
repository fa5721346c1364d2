"""What is fuzzed: each target takes any bytes and raises for what must never happen."""

from __future__ import annotations

import time
from collections.abc import Callable, Mapping
from contextlib import suppress
from typing import Any

import orjson
from conveyor import topics
from conveyor.cloudevents import decode, encode
from conveyor.messages import MalformedEvent, Record

from adapters.rest.definition_body import UnreadableDocument, read_document
from application.aggregates.catalog import CATALOG
from application.codec.starts import StartIntent, start_command
from application.definitions import InvalidDefinition, compile_definition, shipped_definitions
from application.definitions.expressions import InvalidExpression, compile_expression
from domain.definition.expression import ExpressionError

Target = Callable[[bytes], None]

#: CPU time for one input; other processes cost none of it.
CPU_SECONDS_MAX = 2.0

MEDIA_TYPES = ("", "application/json", "application/yaml")
#: What expressions are evaluated on when the input brings no document.
DOCUMENT: Mapping[str, Any] = {
    "input": {"orderId": "ORD-1", "lines": [{"sku": "A", "quantity": 2}, {"sku": "B"}], "n": 1.5},
    "steps": {"reserve": {"output": {"id": "r-1", "tags": ["x", None, True]}}},
    "context": {"workflowId": "wf-1"},
}

_SHIPPED = compile_definition(shipped_definitions()[0])


def cloudevent(data: bytes) -> None:
    """A record of the inbox: lines `name: value` for its headers (`@key` for its key), an empty line, its value."""
    record = record_of(data)
    try:
        message = decode(record)
    except MalformedEvent:
        return
    assert decode(encode(message)) == message
    try:
        inbound = CATALOG.decode(message)
    except MalformedEvent:
        return
    if isinstance(inbound.intent, StartIntent):
        start_command(inbound.intent, _SHIPPED)


def record_of(data: bytes) -> Record:
    head, _, value = data.partition(b"\n\n")
    headers: list[tuple[str, bytes]] = []
    key: bytes | None = None
    for line in head.split(b"\n") if head else ():
        name, _, text = line.partition(b": ")
        if name == b"@key":
            key = text
        else:
            headers.append((name.decode(errors="replace"), text))
    return Record(topic=topics.COMMANDS, key=key, value=value, headers=tuple(headers), partition=0)


def definition(data: bytes) -> None:
    """A definition as text; the first byte chooses the media type."""
    media_type = MEDIA_TYPES[data[0] % len(MEDIA_TYPES)] if data else ""
    try:
        compiled = compile_definition(read_document(data[1:], media_type))
    except (UnreadableDocument, InvalidDefinition):
        return
    for step in compiled.steps:
        with suppress(ExpressionError):
            _require_json(step.input.render(DOCUMENT))
    compiled.input_faults({"orderId": "ORD-1", "lines": [{"sku": "A"}]})


def mapping(data: bytes) -> None:
    """An expression, and behind a null byte the document that it is evaluated on."""
    source, _, text = data.partition(b"\0")
    try:
        compiled = compile_expression(source.decode(errors="replace"))
    except InvalidExpression:
        return
    document: Any = DOCUMENT
    with suppress(orjson.JSONDecodeError):
        document = orjson.loads(text)
    if not isinstance(document, dict):
        return
    with suppress(ExpressionError):
        value = compiled.evaluate(document)
        _require_json(value)
        assert compiled.evaluate(document) == value


def _require_json(value: Any) -> None:
    """What is written is what is read again: an infinite number would be read as null."""
    assert orjson.loads(orjson.dumps(value)) == value


def check_target(target: Target, data: bytes) -> None:
    """The target within its time. Raises AssertionError, or what the target let through."""
    began = time.process_time()
    target(data)
    took = time.process_time() - began
    assert took < CPU_SECONDS_MAX, f"{took:.1f} s"

"""The JSON Schema of a start's input, compiled once. A valid input is checked in microseconds."""

from __future__ import annotations

from collections.abc import Mapping
from itertools import islice
from typing import Any, cast

import jsonschema_rs
from jsonschema_rs import ValidationErrorKind as Kind

#: Faults that are listed; a refusal must stay a small message.
MAX_FAULTS = 100


class InvalidSchema(ValueError):
    """The document is not a JSON Schema, or refers to another document."""


class InputSchema:
    """Raises InvalidSchema for a schema that cannot be compiled."""

    def __init__(self, schema: Mapping[str, Any]) -> None:
        self._schema = dict(schema)
        try:
            self._validator = jsonschema_rs.validator_for(
                self._schema, mask="this value", retriever=_refuse_to_fetch
            )
        except jsonschema_rs.ValidationError as fault:
            place = ".".join(str(part) for part in fault.instance_path)
            detail = f"{place}: {fault.message}" if place else fault.message
            raise InvalidSchema(f"is not a valid JSON Schema: {detail}") from fault

    def faults(self, value: Mapping[str, Any]) -> tuple[Mapping[str, str], ...]:
        """The faults as `{path, message}`, at most MAX_FAULTS; empty if the input is valid."""
        if self._validator.is_valid(value):
            return ()
        errors = islice(self._validator.iter_errors(value), MAX_FAULTS)
        return tuple(fault for error in errors for fault in _faults_of(error))

    def has_path(self, path: tuple[str, ...]) -> bool:
        """Whether a valid input can have this path, as far as `properties` show."""
        schema: Any = self._schema
        for name in path:
            if not isinstance(schema, dict):
                return True
            node = cast("dict[str, Any]", schema)
            properties = cast("dict[str, Any]", node.get("properties", {}))
            if name not in properties:
                is_closed = node.get("additionalProperties") is False
                return not is_closed or bool(node.get("patternProperties"))
            schema = properties[name]
        return True


def _refuse_to_fetch(uri: str) -> Any:
    raise ValueError(f"{uri} is not fetched; put the schema under $defs")


def _faults_of(error: jsonschema_rs.ValidationError) -> list[Mapping[str, str]]:
    place = "input" + "".join(
        f"[{part}]" if isinstance(part, int) else f".{part}" for part in error.instance_path
    )
    match error.kind:
        case Kind.Required(property=name):
            return [{"path": f"{place}.{name}", "message": "is required"}]
        case Kind.AdditionalProperties(unexpected=names):
            return [
                {"path": f"{place}.{name}", "message": "is not a known field"} for name in names
            ]
        case Kind.Type(types=types):
            message = f"must be of type {' or '.join(types)}"
        case Kind.Minimum(limit=limit):
            message = f"must be at least {limit}"
        case Kind.Maximum(limit=limit):
            message = f"must be at most {limit}"
        case Kind.MinItems(limit=limit):
            message = f"must have at least {limit} {'item' if limit == 1 else 'items'}"
        case Kind.MaxItems(limit=limit):
            message = f"must have at most {limit} {'item' if limit == 1 else 'items'}"
        case Kind.FalseSchema():
            message = "is not allowed"
        case Kind.Enum(options=options):
            message = f"must be one of {', '.join(str(option) for option in options)}"
        case _:
            message = error.message
    return [{"path": place, "message": message}]

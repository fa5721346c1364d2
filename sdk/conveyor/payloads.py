"""Reading a payload: its model, or every fault of it in one answer."""

from __future__ import annotations

from typing import Any, TypeVar, cast

import orjson
from pydantic import BaseModel, ValidationError

from conveyor.messages import MalformedEvent

Model = TypeVar("Model", bound=BaseModel)

#: How many objects and lists of a command or a reply may stand within each other. MongoDB's documents have at most
#: 100, and what was accepted here stands within templates, events and commits.
NESTING_MAX = 64


class InvalidPayload(ValueError):
    """JSON, but not of the shape that the type demands; `faults` are `{path, message}`."""

    def __init__(self, faults: tuple[dict[str, str], ...]) -> None:
        super().__init__("; ".join(f"{fault['path']}: {fault['message']}" for fault in faults))
        self.faults = faults


def parse(model: type[Model], data: bytes) -> Model:
    """The payload. Raises MalformedEvent (NOT_JSON) or InvalidPayload with every fault."""
    if b"NaN" in data or b"Infinity" in data:
        _refuse_no_numbers(data)
    try:
        return model.model_validate_json(data or b"{}")
    except ValidationError as error:
        if any(fault["type"] == "json_invalid" for fault in error.errors()):
            raise MalformedEvent("NOT_JSON", "the data is no JSON document") from error
        raise InvalidPayload(faults_of(error)) from error


def nesting_fault(data: bytes) -> str | None:
    """Why this JSON document cannot be taken: it is nested too deeply. None if it is not."""
    # Brackets in strings count as well, so many of them are only a reason to look.
    if data.count(b"{") + data.count(b"[") <= NESTING_MAX:
        return None
    if _is_within(orjson.loads(data), NESTING_MAX):
        return None
    return f"nested more than {NESTING_MAX} deep; pass a reference, or the value as a text"


def _is_within(value: Any, levels: int) -> bool:
    if isinstance(value, dict):
        inner = list(cast("dict[str, Any]", value).values())
    elif isinstance(value, list):
        inner = cast("list[Any]", value)
    else:
        return True
    return levels > 0 and all(_is_within(item, levels - 1) for item in inner)


def require_shallow(data: bytes) -> None:
    """Raises InvalidPayload for what is nested too deeply."""
    fault = nesting_fault(data)
    if fault is not None:
        raise InvalidPayload(({"path": "data", "message": fault},))


def _refuse_no_numbers(data: bytes) -> None:
    """NaN and Infinity are no JSON, though many readers take them; what is stored could not be read back."""
    try:
        orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise MalformedEvent("NOT_JSON", f"the data is no JSON document: {error}") from error


def faults_of(error: ValidationError) -> tuple[dict[str, str], ...]:
    """A validation error as `errors` of a problem document."""
    return tuple(
        {"path": ".".join(str(part) for part in fault["loc"]) or "data", "message": fault["msg"]}
        for fault in error.errors()
    )

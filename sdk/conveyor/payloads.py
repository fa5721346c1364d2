"""Reading a payload: its model, or every fault of it in one answer."""

from __future__ import annotations

from typing import TypeVar

import orjson
from pydantic import BaseModel, ValidationError

from conveyor.messages import MalformedEvent

Model = TypeVar("Model", bound=BaseModel)


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

"""Reading and writing a payload: its model or its JSON, or every fault in it at once."""

from __future__ import annotations

from functools import lru_cache
from typing import Any, TypeVar, cast

import msgspec
from pydantic import BaseModel, ValidationError
from pydantic_core import PydanticSerializationError

from conveyor.exchange import Exchanged, Reply
from conveyor.json_text import (
    NESTING_MAX,
    Fault,
    NotJson,
    UnstorableJson,
    cleaned,
    read_json,
    read_loosely,
    require_storable,
    unstorable_in,
    unstorable_values,
    utf8,
    why_not_json,
)
from conveyor.messages import MalformedEvent

__all__ = [
    "NESTING_MAX",
    "InvalidPayload",
    "document_of",
    "faults_of",
    "parse",
    "parse_exchanged",
    "parse_reply",
    "written",
]

Model = TypeVar("Model", bound=BaseModel)
E = TypeVar("E", bound=Exchanged)
R = TypeVar("R", bound=Reply)

#: The fields of a reply that bring a participant's own data.
_DATA_FIELDS = ("output", "snapshot")


class InvalidPayload(ValueError):
    """JSON, but not of the shape that the type demands; `faults` are `{path, message}`."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault['path']}: {fault['message']}" for fault in faults))
        self.faults = faults


def document_of(data: bytes) -> Any:
    """The JSON document. Raises MalformedEvent (NOT_JSON) or InvalidPayload for what cannot be stored."""
    try:
        return read_json(data)
    except NotJson as error:
        raise MalformedEvent("NOT_JSON", str(error)) from error
    except UnstorableJson as error:
        raise InvalidPayload(_of_data(error.faults)) from error


def written(payload: BaseModel, without: set[str] | None = None) -> bytes:
    """The JSON of a command's fields that were set. Raises UnstorableJson, as its reader would refuse it."""
    try:
        text = payload.model_dump_json(by_alias=True, exclude_unset=True, exclude=without)
    except PydanticSerializationError:
        require_storable(payload.model_dump(by_alias=True, exclude_unset=True, exclude=without))
        raise
    data = text.encode()
    if faults := unstorable_in(data):
        raise UnstorableJson(faults)
    return data


def _storable(data: bytes, nesting: int) -> bytes:
    """The text without a byte order mark, if all of it can be stored; empty data is an empty object."""
    data = utf8(data) or b"{}"
    try:
        unstorable = unstorable_in(data, nesting)
    except NotJson as error:
        raise MalformedEvent("NOT_JSON", str(error)) from error
    if unstorable:
        raise InvalidPayload(_of_data(unstorable))
    return data


def parse(model: type[Model], data: bytes, nesting: int = NESTING_MAX) -> Model:
    """The payload; empty data is an empty object. Raises MalformedEvent (NOT_JSON) or InvalidPayload."""
    data = _storable(data, nesting)
    try:
        return model.model_validate_json(data)
    except ValidationError as error:
        if any(fault["type"] == "json_invalid" for fault in error.errors()):
            raise MalformedEvent("NOT_JSON", why_not_json(data)) from error
        raise InvalidPayload(faults_of(error)) from error


def parse_exchanged(payload: type[E], data: bytes, nesting: int = NESTING_MAX) -> E:
    """A request or a reply. Raises MalformedEvent (NOT_JSON) or InvalidPayload."""
    data = _storable(data, nesting)
    try:
        # A cache forgets the type of what it holds.
        decoder: msgspec.json.Decoder[E] = _decoder(payload)
        return decoder.decode(data)
    except msgspec.ValidationError as error:
        raise InvalidPayload((_fault_in(error),)) from error
    except msgspec.DecodeError as error:
        raise MalformedEvent("NOT_JSON", why_not_json(data)) from error


@lru_cache
def _decoder(payload: type[E]) -> msgspec.json.Decoder[E]:
    return msgspec.json.Decoder(payload)


def _fault_in(error: msgspec.ValidationError) -> Fault:
    """The one fault that msgspec names, as `Expected `int`, got `str` - at `$.attempt``."""
    message, _, place = str(error).partition(" - at `$.")
    return {"path": place.rstrip("`") or "data", "message": message}


def parse_reply(reply: type[R], data: bytes) -> tuple[R, str | None]:
    """A participant's answer, and why its output or snapshot cannot be used, if so.

    A step that was performed must not be performed again because of its output: an answer that can be
    understood without its data is returned without it. Raises MalformedEvent (NOT_JSON) or InvalidPayload.
    """
    try:
        return parse_exchanged(reply, data), None
    except (MalformedEvent, InvalidPayload) as fault:
        return _without_data(reply, data, fault)


def _without_data(
    reply: type[R], data: bytes, fault: MalformedEvent | InvalidPayload
) -> tuple[R, str | None]:
    """The reply, read leniently: without data that cannot be used, and with numbers that came as texts."""
    try:
        document: Any = read_loosely(utf8(data), any_bytes=True)
    except NotJson:
        raise fault from None
    if not isinstance(document, dict):
        raise fault
    fields = cast("dict[str, Any]", document)
    unusable: list[Fault] = []
    for name in _DATA_FIELDS:
        value = fields.pop(name, None)
        if value is None:
            continue
        faults = list(unstorable_values(value, name, nesting=NESTING_MAX - 1))
        if not isinstance(value, dict):
            faults.append({"path": name, "message": "is not an object"})
        if not faults:
            fields[name] = value
        unusable += faults
    try:
        answer = msgspec.convert(cleaned(fields), reply, strict=False)
    except msgspec.ValidationError as error:
        raise InvalidPayload((_fault_in(error),)) from error
    return answer, str(InvalidPayload(tuple(unusable[:10]))) if unusable else None


def faults_of(error: ValidationError) -> tuple[Fault, ...]:
    """A validation error as `errors` of a problem document."""
    return tuple(
        {"path": ".".join(str(part) for part in fault["loc"]) or "data", "message": fault["msg"]}
        for fault in error.errors()
    )


def _of_data(faults: tuple[Fault, ...]) -> tuple[Fault, ...]:
    return tuple({**fault, "path": fault["path"] or "data"} for fault in faults)

"""The CloudEvents 1.0 binding to Kafka records: binary mode both ways, structured mode inwards.

Binary mode is written by hand because it runs for every message of the engine and of a participant;
`tests/sdk/test_cloudevents.py` holds it equal to the CloudEvents SDK's own Kafka binding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any

import orjson
from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from conveyor.json_text import read_loosely, require_storable, utf8
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.times import parse_rfc3339
from conveyor.values import replace

_SPECVERSION = ("ce_specversion", b"1.0")
_JSON_TYPE = b"application/json"
_CONTENT_TYPE = ("content-type", _JSON_TYPE)
#: Followed by the format; an event in any of them is in structured mode.
_CLOUDEVENTS_TYPE = b"application/cloudevents"
_STRUCTURED_TYPE = b"application/cloudevents+json"
_JSON = JSONFormat()
#: Deeper than any payload may be: its reader refuses it with a path.
_STRUCTURED_NESTING_MAX = 128

_CORE_ATTRIBUTES = frozenset(
    ("specversion", "id", "source", "type", "subject", "time", "dataschema")
)
_NO_EXTENSIONS = _CORE_ATTRIBUTES | {"datacontenttype", "data"}
_OWN_EXTENSIONS = frozenset(
    ("correlationid", "causationid", "traceparent", "idempotencykey", "attempt", "actor")
)
_KNOWN_ATTRIBUTES = _CORE_ATTRIBUTES | _OWN_EXTENSIONS
_EXTENSION_NAME = re.compile(r"[a-z0-9]+")
_IN_UTC = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?Z", re.ASCII)


def headers_of(message: Message) -> list[tuple[str, bytes]]:
    """The headers of a message in binary mode: `ce_*`, content type, plain ones."""
    headers = [
        _SPECVERSION,
        ("ce_id", message.id.encode()),
        ("ce_source", message.source.encode()),
        ("ce_type", message.type.encode()),
    ]
    if message.subject is not None:
        headers.append(("ce_subject", message.subject.encode()))
    if message.time is not None:
        headers.append(("ce_time", message.time.encode()))
    if message.dataschema is not None:
        headers.append(("ce_dataschema", message.dataschema.encode()))
    for name, value in message.extensions.items():
        headers.append(("ce_" + name, value.encode()))
    headers.append(_CONTENT_TYPE)
    headers.extend(message.headers.items())
    return headers


def encode(message: Message) -> Record:
    """The record of a message in binary mode."""
    key = message.key
    return Record(
        topic=message.topic,
        key=None if key is None else key.encode(),
        value=message.data,
        headers=tuple(headers_of(message)),
        partition=message.partition,
    )


def structured(message: Message) -> dict[str, Any]:
    """The event of a message in structured mode, for a JSON document."""
    event: dict[str, Any] = {
        "specversion": "1.0",
        "id": message.id,
        "source": message.source,
        "type": message.type,
        **message.extensions,
        "datacontenttype": "application/json",
        "data": orjson.Fragment(message.data),
    }
    optional = {"subject": message.subject, "time": message.time, "dataschema": message.dataschema}
    return event | {name: value for name, value in optional.items() if value is not None}


def unstructured(topic: str, event: Mapping[str, Any]) -> Message:
    """The message of an event that `structured` made and that came as JSON; its subject is its key."""
    return Message(
        topic=topic,
        key=event.get("subject"),
        type=event["type"],
        source=event["source"],
        id=event["id"],
        data=orjson.dumps(event["data"]),
        subject=event.get("subject"),
        time=event.get("time"),
        dataschema=event.get("dataschema"),
        extensions={name: str(event[name]) for name in event if name not in _NO_EXTENSIONS},
    )


def decode(record: Record) -> Message:
    """The message of a record, in either mode; the data is not looked into.

    Raises `MalformedEvent` with the code `MALFORMED_EVENT`, `MISSING_ATTRIBUTE`, `INVALID_TIME` or
    `UNSUPPORTED_SPECVERSION`.
    """
    attributes: dict[str, str] = {}
    plain: dict[str, bytes] = {}
    content_type = b""
    try:
        key = None if record.key is None else record.key.decode()
        for name, value in record.headers:
            if name[:3] == "ce_":
                attributes[name[3:]] = value.decode()
            elif name == "content-type":
                content_type = value
            elif name.lower() == "content-type" or name[:3].lower() == "ce_":
                return decode(_in_lower_case(record))
            else:
                plain[name] = value
    except UnicodeDecodeError as error:
        raise MalformedEvent("MALFORMED_EVENT", f"key or header is not UTF-8: {error}") from None
    data = record.value or b""
    is_binary = content_type == _JSON_TYPE or not content_type.lower().startswith(_CLOUDEVENTS_TYPE)
    if not is_binary:
        # The value is the event. The binding allows copies of its attributes in headers; they are ignored.
        attributes, data = _read_structured(data, content_type)
    elif not attributes:
        raise MalformedEvent(
            "MALFORMED_EVENT",
            "no CloudEvent: neither ce_ headers nor content-type application/cloudevents+json",
        )
    elif len(attributes) + len(plain) + bool(content_type) < len(record.headers):
        _refuse_contradiction(record)
    if not attributes.keys() <= _KNOWN_ATTRIBUTES:
        if is_binary and any(name != name.lower() for name in attributes):
            return decode(_in_lower_case(record))
        _check_extensions(attributes)
    return _message(record, key, attributes, data, plain)


def _in_lower_case(record: Record) -> Record:
    """The binding's own header names mean the same in any letter case (`CE_Id`)."""
    headers = tuple(
        (lower, value)
        if (lower := name.lower()) == "content-type" or lower.startswith("ce_")
        else (name, value)
        for name, value in record.headers
    )
    return replace(record, headers=headers)


def _refuse_contradiction(record: Record) -> None:
    """Refuse an attribute that is given twice with different values, because it is unclear which one counts."""
    first: dict[str, bytes] = {}
    for name, value in record.headers:
        if name.startswith("ce_") and first.setdefault(name, value) != value:
            raise MalformedEvent("MALFORMED_EVENT", f"{name} is given twice, differently")


def _message(
    record: Record,
    key: str | None,
    attributes: dict[str, str],
    data: bytes,
    plain: dict[str, bytes],
) -> Message:
    pop = attributes.pop
    version = pop("specversion", None)
    event_id, source, event_type = pop("id", None), pop("source", None), pop("type", None)
    if version != "1.0" or not (event_id and source and event_type):
        raise _refusal(specversion=version, id=event_id, source=source, type=event_type)
    if source.split() != [source]:
        raise MalformedEvent(
            "MALFORMED_EVENT",
            f"source {source!r} has white space, which no URI reference has; write %20",
        )
    time, subject, dataschema = pop("time", None), pop("subject", None), pop("dataschema", None)
    if subject == "" or dataschema == "":
        raise MalformedEvent("MALFORMED_EVENT", "subject and dataschema must not be empty")
    if time is not None:
        time = _utc(time)
    return Message(
        topic=record.topic,
        key=key,
        type=event_type,
        source=source,
        id=event_id,
        data=data,
        subject=subject,
        time=time,
        dataschema=dataschema,
        extensions=attributes,
        headers=plain,
        partition=record.partition,
    )


def _refusal(**required: str | None) -> MalformedEvent:
    absent = [name for name, value in required.items() if not value]
    if absent:
        return MalformedEvent("MISSING_ATTRIBUTE", f"{', '.join(absent)} missing or empty")
    return MalformedEvent(
        "UNSUPPORTED_SPECVERSION",
        f"specversion {required['specversion']!r} is not supported; use 1.0",
    )


def _check_extensions(names: Iterable[str]) -> None:
    for name in names:
        if _EXTENSION_NAME.fullmatch(name) is None or name == "data":
            raise MalformedEvent("MALFORMED_EVENT", f"{name!r} is not an extension attribute name")


def _utc(time: str) -> str:
    """The time as RFC 3339 in UTC, unchanged if it is that already."""
    try:
        if _IN_UTC.fullmatch(time):
            datetime.fromisoformat(time)
            return time
    except ValueError:
        pass  # a leap second, or no time at all
    try:
        return parse_rfc3339(time).isoformat()[:-6] + "Z"
    except ValueError as fault:
        raise MalformedEvent("INVALID_TIME", f"time {time!r} {fault}") from None


def _read_structured(value: bytes, content_type: bytes) -> tuple[dict[str, str], bytes]:
    if content_type.lower().partition(b";")[0].strip() != _STRUCTURED_TYPE:
        raise MalformedEvent(
            "MALFORMED_EVENT",
            f"content-type {content_type.decode(errors='replace')} is not supported; of the structured formats"
            f" only {_STRUCTURED_TYPE.decode()} is",
        )
    try:
        read: Any = read_loosely(utf8(value), _STRUCTURED_NESTING_MAX)
        # By the format, a null attribute counts as absent.
        envelope = {name: member for name, member in read.items() if member is not None}
        data: Any = envelope.pop("data", None)
        time: Any = envelope.pop("time", None)
        _require_one_form(envelope, data, time)
        require_storable(envelope)
        event = _JSON.read(_complete_event, json.dumps(envelope))
    except (CloudEventValidationError, ValueError, TypeError, AttributeError) as error:
        if isinstance(error, MalformedEvent):
            raise
        raise MalformedEvent("MALFORMED_EVENT", f"no structured CloudEvent: {error}") from None
    attributes = {
        name: _attribute_text(attribute)
        for name, attribute in event.get_attributes().items()
        if name != "datacontenttype" and attribute is not None
    }
    if time is not None:
        attributes["time"] = time
    binary: Any = event.get_data()
    if isinstance(binary, bytes):
        return attributes, binary
    # Values that JSON does not have are passed on: the reader of the data reports what is wrong with them.
    return attributes, b"" if data is None else json.dumps(data, separators=(",", ":")).encode()


def _require_one_form(envelope: Mapping[str, Any], data: Any, time: Any) -> None:
    if data is not None and "data_base64" in envelope:
        raise ValueError("it has both data and data_base64")
    if not isinstance(time, str | None):
        raise TypeError("its time is not a text")


def _complete_event(attributes: dict[str, Any], data: Any) -> CloudEvent:
    """Refuse a missing id or time, which the CloudEvents SDK would generate again on every delivery."""
    required = {name: attributes.get(name) for name in ("specversion", "id", "source", "type")}
    if required["specversion"] != "1.0" or not all(required.values()):
        raise _refusal(**required)
    event = CloudEvent(attributes, data)
    attributes.pop("time", None)
    return event


def _attribute_text(value: Any) -> str:
    """CloudEvents' canonical string form of an attribute."""
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

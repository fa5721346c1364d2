"""The CloudEvents 1.0 binding to Kafka records: binary mode both ways, structured mode inwards.

Binary mode is written by hand because it runs for every message of the engine and of a participant;
`tests/sdk/test_cloudevents.py` holds it equal to the CloudEvents SDK's own Kafka binding.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterable
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

from cloudevents.core.exceptions import CloudEventValidationError
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent

from conveyor.json_text import read_loosely, require_storable, utf8
from conveyor.messages import MalformedEvent, Message, Record

_STRUCTURED = b"application/cloudevents+json"
_SPECVERSION = ("ce_specversion", b"1.0")
_CONTENT_TYPE = ("content-type", b"application/json")
_JSON = JSONFormat()
#: Deeper than any payload may be: its reader refuses it with a path.
_STRUCTURED_NESTING_MAX = 128

_OWN_EXTENSIONS = frozenset(
    ("correlationid", "causationid", "traceparent", "idempotencykey", "attempt")
)
_EXTENSION_NAME = re.compile(r"[a-z0-9]+")
_RFC3339 = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|[+-]\d\d:\d\d)")


def encode(message: Message) -> Record:
    """The record of a message in binary mode: `ce_*` headers, content type, plain headers."""
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
    key = message.key
    return Record(
        topic=message.topic,
        key=None if key is None else key.encode(),
        value=message.data,
        headers=tuple(headers),
        partition=message.partition,
    )


def decode(record: Record) -> Message:
    """The message of a record, in either mode; the data is not looked into.

    Raises `MalformedEvent` with the code `MALFORMED_EVENT`, `MISSING_ATTRIBUTE` or
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
                return decode(replace(record, headers=_in_lower_case(record.headers)))
            else:
                plain[name] = value
    except UnicodeDecodeError as error:
        raise MalformedEvent("MALFORMED_EVENT", f"key or header is no UTF-8: {error}") from None
    data = record.value or b""
    if not attributes:
        if not content_type.lower().startswith(_STRUCTURED):
            raise MalformedEvent(
                "MALFORMED_EVENT",
                "no CloudEvent: neither ce_ headers nor content-type application/cloudevents+json",
            )
        attributes, data = _read_structured(data)
    return _message(record, key, attributes, data, plain)


def _in_lower_case(headers: Iterable[tuple[str, bytes]]) -> tuple[tuple[str, bytes], ...]:
    """The binding's own header names mean the same in any letter case (`CE_Id`)."""
    return tuple(
        (lower, value)
        if (lower := name.lower()) == "content-type" or lower.startswith("ce_")
        else (name, value)
        for name, value in headers
    )


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
    if not attributes.keys() <= _OWN_EXTENSIONS:
        _check_extensions(attributes)
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
            raise MalformedEvent("MALFORMED_EVENT", f"{name!r} is no extension attribute name")


def _utc(time: str) -> str:
    """The time as RFC 3339 in UTC, unchanged if it is that already."""
    try:
        parsed = datetime.fromisoformat(time) if _RFC3339.fullmatch(time) else None
    except ValueError:
        parsed = None
    if parsed is None:
        raise MalformedEvent(
            "MALFORMED_EVENT", f"time {time!r} is not RFC 3339, as 2026-11-21T02:30:00.123Z"
        )
    if time[-1] == "Z":
        return time
    try:
        return (parsed - (parsed.utcoffset() or timedelta())).isoformat()[:-6] + "Z"
    except OverflowError:
        raise MalformedEvent(
            "MALFORMED_EVENT", f"time {time!r} is outside the years 1 to 9999 in UTC"
        ) from None


def _read_structured(value: bytes) -> tuple[dict[str, str], bytes]:
    try:
        envelope: Any = read_loosely(utf8(value), _STRUCTURED_NESTING_MAX)
        data: Any = envelope.pop("data", None)
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
    binary: Any = event.get_data()
    if isinstance(binary, bytes):
        return attributes, binary
    # Values that JSON does not have are written all the same: the reader of the data says what is wrong with them.
    return attributes, b"" if data is None else json.dumps(data, separators=(",", ":")).encode()


def _complete_event(attributes: dict[str, Any], data: Any) -> CloudEvent:
    """The SDK would make up a missing id or time; an id that changes on redelivery identifies nothing."""
    required = {name: attributes.get(name) for name in ("specversion", "id", "source", "type")}
    if required["specversion"] != "1.0" or not all(required.values()):
        raise _refusal(**required)
    with_time = attributes.get("time") is not None
    if not with_time:
        attributes.pop("time", None)
    event = CloudEvent(attributes, data)
    if not with_time:
        attributes.pop("time", None)
    return event


def _attribute_text(value: Any) -> str:
    """CloudEvents' canonical string form of an attribute."""
    if isinstance(value, datetime):
        return value.isoformat()
    if isinstance(value, bool):
        return "true" if value else "false"
    return str(value)

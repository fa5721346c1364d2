"""How records are stored in a topic: the records that one publication writes to one topic are one row.

Its `content` is a JSON array with one item per record, a line feed, and the values of all records one after another.
The first field of each item is the length of its value (null: no value). One row per batch instead of one per record
makes 35,000 records per second cheap: a record costs one small tuple and its share of one JSON encoding. Large contents
are compressed in the writer thread, without the interpreter lock, because a saga's messages are repetitive and the disk
is slower.
"""

from __future__ import annotations

import zlib
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

import orjson
from conveyor.cloudevents import decode
from conveyor.messages import MalformedEvent, Message, Record

_RECORD_FIELDS = 3
_DEFLATED_FROM_BYTES = 4096

#: Bytes are stored in JSON as the characters with the same numbers, which is lossless.
_BYTES = "latin-1"


@dataclass(slots=True)
class Batch:
    """Neighbouring records of one topic."""

    #: Offset of the first record, and the offset after the last one.
    first: int
    end: int
    #: When the batch was appended, the same for all its records.
    at: datetime
    records: Sequence[Message | Record]
    #: Bytes of the content before compression, which is about its size in memory.
    size: int


def as_message(stored: Message | Record) -> Message | MalformedEvent:
    """What was published, as a decoded message."""
    if isinstance(stored, Message):
        return stored
    try:
        return decode(stored)
    except MalformedEvent as malformed:
        return malformed


def pack(records: Sequence[Message | Record]) -> bytes:
    """The content of a batch of these records."""
    attributes = [
        _message_fields(record) if isinstance(record, Message) else _record_fields(record)
        for record in records
    ]
    values = [
        record.data if isinstance(record, Message) else record.value or b"" for record in records
    ]
    return b"".join((orjson.dumps(attributes), b"\n", *values))


def deflate(content: bytes) -> bytes:
    """The content as it is stored, perhaps compressed."""
    return content if len(content) < _DEFLATED_FROM_BYTES else zlib.compress(content, level=1)


def unpack(topic: str, stored: bytes) -> Sequence[Message | Record]:
    """The records that `pack` was given, as records of this topic's only partition."""
    content = stored if stored.startswith(b"[") else zlib.decompress(stored)
    attributes, _, values = content.partition(b"\n")
    records: list[Message | Record] = []
    start = 0
    for fields in orjson.loads(attributes):
        length = fields[0]
        end = start + (length or 0)
        value = values[start:end]
        start = end
        if len(fields) == _RECORD_FIELDS:
            records.append(_record(topic, fields, None if length is None else value))
        else:
            records.append(_message(topic, fields, value))
    return records


def _message_fields(message: Message) -> tuple[Any, ...]:
    headers = message.headers
    return (
        len(message.data),
        message.key,
        message.type,
        message.source,
        message.id,
        message.subject,
        message.time,
        message.dataschema,
        message.extensions,
        {name: value.decode(_BYTES) for name, value in headers.items()} if headers else None,
    )


def _message(topic: str, fields: Sequence[Any], data: bytes) -> Message:
    _, key, type_, source, id_, subject, time, dataschema, extensions, headers = fields
    return Message(
        topic=topic,
        key=key,
        type=type_,
        source=source,
        id=id_,
        data=data,
        subject=subject,
        time=time,
        dataschema=dataschema,
        extensions=extensions,
        headers={name: value.encode(_BYTES) for name, value in headers.items()} if headers else {},
        partition=0,
    )


def _record_fields(record: Record) -> tuple[Any, ...]:
    return (
        None if record.value is None else len(record.value),
        None if record.key is None else record.key.decode(_BYTES),
        [(name, value.decode(_BYTES)) for name, value in record.headers],
    )


def _record(topic: str, fields: Sequence[Any], value: bytes | None) -> Record:
    _, key, headers = fields
    return Record(
        topic=topic,
        key=None if key is None else key.encode(_BYTES),
        value=value,
        headers=tuple((name, text.encode(_BYTES)) for name, text in headers),
        partition=0,
    )

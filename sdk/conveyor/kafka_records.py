"""Reads a record that Kafka's client library delivered. Whatever it contains, an error affects only this record."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from operator import itemgetter, methodcaller
from typing import TypeAlias, cast

from confluent_kafka import Message as Received

from conveyor.cloudevents import decode
from conveyor.messages import MalformedEvent, Message, Record

log = logging.getLogger(__name__)

_Headers: TypeAlias = Sequence[tuple[str, bytes | None]]
_value = itemgetter(1)
#: For a header name that is not UTF-8 the library returns a broken list and leaves an exception set. A plain call
#: raises it only as long as the interpreter has not specialised the call: after that, some later call fails.
#: This one always checks. It can be made once per message, since the library keeps the broken list.
_headers = methodcaller("headers")


def read(received: Received, topic: str) -> tuple[Record, Message | MalformedEvent]:
    """The record as it is stored, and what it decodes to; `topic` is its name without the prefix.

    Never raises, and may be called once per message. A header without a value reads as empty.
    Headers that cannot be read are left out of the record.
    """
    try:
        headers = cast("_Headers", _headers(received) or ())
    except (SystemError, UnicodeDecodeError) as error:
        fault = MalformedEvent("MALFORMED_EVENT", f"unreadable headers: {error.__cause__ or error}")
        return _record(received, topic, ()), fault
    if None in map(_value, headers):
        headers = [(name, value or b"") for name, value in headers]
    record = _record(received, topic, tuple(cast("Sequence[tuple[str, bytes]]", headers)))
    try:
        return record, decode(record)
    except MalformedEvent as malformed:
        return record, malformed
    # A bug in reading must cost this record, not the process: it becomes a dead letter.
    except Exception as bug:
        log.exception("A record could not be read")
        return record, MalformedEvent("INTERNAL", f"{type(bug).__name__}: {bug}")


def _record(received: Received, topic: str, headers: tuple[tuple[str, bytes], ...]) -> Record:
    return Record(
        topic=topic,
        key=received.key(),
        value=received.value(),
        headers=headers,
        partition=received.partition(),
    )

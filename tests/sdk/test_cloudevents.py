"""The binding to Kafka records, held equal to the CloudEvents SDK's."""

from __future__ import annotations

import json
from collections.abc import Callable
from datetime import UTC, datetime
from typing import Any

import pytest
from cloudevents.core.bindings.kafka import (
    KafkaMessage,
    from_binary,
    to_binary,
    to_structured,
)
from cloudevents.core.formats.json import JSONFormat
from cloudevents.core.v1.event import CloudEvent
from conveyor.cloudevents import decode, encode
from conveyor.json_text import INTEGER_MAX, INTEGER_MIN
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.values import replace
from hypothesis import given
from hypothesis import strategies as st

text = st.text(min_size=1, max_size=20)
sources = text.filter(lambda source: source.split() == [source])
extension_names = st.from_regex(r"[a-z0-9]{1,20}", fullmatch=True).filter(
    lambda name: (
        name
        not in {
            *("id", "source", "type", "specversion", "time", "subject", "dataschema", "data"),
            *("datacontenttype", "partitionkey"),
        }
    )
)
times = st.datetimes(timezones=st.just(UTC)).map(
    lambda time: time.isoformat().replace("+00:00", "Z")
)
#: What can be stored; the reader of structured events makes no promise about other numbers.
integers = st.integers(INTEGER_MIN, INTEGER_MAX)
documents = st.dictionaries(st.text(max_size=10), integers | st.text() | st.none(), max_size=5)


def messages() -> st.SearchStrategy[Message]:
    return st.builds(
        Message,
        topic=st.just("orchestration.workflow.commands"),
        key=text,
        type=text,
        source=sources,
        id=text,
        data=documents.map(lambda document: json.dumps(document).encode()),
        subject=st.none() | text,
        time=times,
        dataschema=st.none() | text,
        extensions=st.dictionaries(extension_names, st.text(max_size=20), max_size=4),
    )


def attributes_of(message: Message) -> dict[str, Any]:
    assert message.time is not None
    attributes: dict[str, Any] = {
        "specversion": "1.0",
        "id": message.id,
        "source": message.source,
        "type": message.type,
        "time": datetime.fromisoformat(message.time),
        "datacontenttype": "application/json",
        **message.extensions,
    }
    if message.subject is not None:
        attributes["subject"] = message.subject
    if message.dataschema is not None:
        attributes["dataschema"] = message.dataschema
    return attributes


@given(messages())
def test_encodes_what_the_sdk_reads(message: Message) -> None:
    """The CloudEvents SDK reads from our record exactly the event that we meant."""
    record = encode(message)

    event = from_binary(
        KafkaMessage(dict(record.headers), record.key, record.value or b""), JSONFormat()
    )

    assert event.get_attributes() == {**attributes_of(message), "partitionkey": message.key}
    assert event.get_data() == json.loads(message.data)


@given(messages())
def test_decodes_what_the_sdk_writes(message: Message) -> None:
    """We read from the CloudEvents SDK's record exactly the message that it meant."""
    event = CloudEvent(attributes_of(message), json.loads(message.data))
    written = to_binary(event, JSONFormat(), lambda _: message.key)
    assert isinstance(written.key, str)
    record = Record(
        topic=message.topic,
        key=written.key.encode(),
        value=written.value,
        headers=tuple(written.headers.items()),
    )

    decoded = decode(record)

    assert json.loads(decoded.data) == json.loads(message.data)
    assert decoded == same_but_data(message, decoded.data)


@given(messages())
def test_encodes_as_the_sdk(message: Message) -> None:
    """Our headers are the CloudEvents SDK's headers, byte for byte."""
    written = to_binary(CloudEvent(attributes_of(message), None), JSONFormat())

    assert dict(encode(message).headers) == written.headers


@given(messages())
def test_decodes_structured_mode(message: Message) -> None:
    """A structured event of the CloudEvents SDK is read as the same message."""
    event = CloudEvent(attributes_of(message), json.loads(message.data))
    written = to_structured(event, JSONFormat())
    record = Record(
        topic=message.topic,
        key=(message.key or "").encode(),
        value=written.value,
        headers=tuple(written.headers.items()),
    )

    decoded = decode(record)

    assert json.loads(decoded.data) == json.loads(message.data)
    assert decoded == same_but_data(message, decoded.data)


def same_but_data(message: Message, data: bytes) -> Message:
    return replace(message, data=data)


MESSAGE = Message(
    topic="t",
    key="wf-1",
    type="orchestration.workflow.pause",
    source="/test",
    id="c-1",
    data=b"{}",
    time="2026-11-21T02:30:00.123Z",
    extensions={"correlationid": "corr-1"},
    headers={"hops": b"1", "conveyor-mac": b"\xff\x00"},
    partition=3,
)


def with_headers(**changes: bytes | None) -> Record:
    headers = dict(encode(MESSAGE).headers)
    for name, value in changes.items():
        if value is None:
            del headers[name]
        else:
            headers[name] = value
    return Record(topic="t", key=b"wf-1", value=b"{}", headers=tuple(headers.items()))


def binary(time: str) -> Record:
    return with_headers(ce_time=time.encode())


def structured(time: str) -> Record:
    event = {"specversion": "1.0", "id": "1", "source": "/s", "type": "t", "time": time}
    headers = (("content-type", b"application/cloudevents+json"),)
    return Record(topic="t", key=b"wf-1", value=json.dumps(event).encode(), headers=headers)


def test_round_trip_keeps_plain_headers() -> None:
    """Headers that are no CloudEvents attribute travel unchanged, binary ones too."""
    assert decode(encode(MESSAGE)) == MESSAGE


def test_header_names_in_any_case() -> None:
    """`CE_Id` and `Content-Type` mean what their lower-case forms mean."""
    record = encode(MESSAGE)
    shouted = tuple(
        (name.upper() if name.startswith("ce_") or name == "content-type" else name, value)
        for name, value in record.headers
    )
    mixed = tuple((name.replace("ce_id", "ce_Id"), value) for name, value in record.headers)

    for headers in (shouted, mixed):
        assert decode(replace(record, headers=headers)) == MESSAGE


@pytest.mark.parametrize(
    ("time", "in_utc"),
    [
        ("2026-11-21T02:30:00.5+02:00", "2026-11-21T00:30:00.500000Z"),
        ("2026-11-21t02:30:00.123z", "2026-11-21T02:30:00.123000Z"),
        ("2026-11-21T02:30:00-00:00", "2026-11-21T02:30:00Z"),
        ("2026-11-21T02:30:00.123456789Z", "2026-11-21T02:30:00.123456789Z"),
        ("2016-12-31T23:59:60Z", "2017-01-01T00:00:00Z"),
        ("2017-01-01T05:44:60.5+05:45", "2017-01-01T00:00:00.500000Z"),
    ],
)
@pytest.mark.parametrize("write", [binary, structured])
def test_every_form_of_a_time_becomes_utc(
    write: Callable[[str], Record], time: str, in_utc: str
) -> None:
    """RFC 3339 allows offsets, lower case, any number of digits and leap seconds."""
    assert decode(write(time)).time == in_utc


def test_structured_mode_counts_where_attributes_are_headers_too() -> None:
    """The binding allows copies of a structured event's attributes as headers."""
    record = structured("2026-11-21T02:30:00Z")
    copies = (("ce_specversion", b"1.0"), ("ce_id", b"other"), ("CE_Source", b"/other"))

    decoded = decode(replace(record, headers=(*copies, *record.headers)))

    assert decoded == decode(record)


def test_a_null_attribute_is_absent() -> None:
    """The JSON format of CloudEvents demands that null counts as left out."""
    value = b'{"specversion":"1.0","id":"1","source":"/s","type":"t","subject":null,"own":null}'

    decoded = decode(replace(structured("2026-11-21T02:30:00Z"), value=value))

    assert decoded.subject is None
    assert decoded.extensions == {}


def test_a_format_that_is_not_supported() -> None:
    """A batch, or an event in XML, is not taken for binary mode by its headers."""
    record = with_headers(**{"content-type": b"application/cloudevents-batch+json"})

    with pytest.raises(MalformedEvent, match=r"batch\+json is not supported") as refused:
        decode(record)

    assert refused.value.code == "MALFORMED_EVENT"


def test_an_attribute_given_twice() -> None:
    """Two headers of one attribute must say the same, in whatever letter case."""
    record = with_headers(**{"content-type": None})

    same = decode(replace(record, headers=(*record.headers, ("CE_Id", b"c-1"))))
    with pytest.raises(MalformedEvent, match="ce_id is given twice") as refused:
        decode(replace(record, headers=(*record.headers, ("CE_Id", b"c-2"))))

    assert same == decode(record)
    assert refused.value.code == "MALFORMED_EVENT"


@pytest.mark.parametrize(
    ("record", "code"),
    [
        (with_headers(ce_id=None), "MISSING_ATTRIBUTE"),
        (with_headers(ce_source=b""), "MISSING_ATTRIBUTE"),
        *(
            (with_headers(ce_source=source.encode()), "MALFORMED_EVENT")
            for source in ("/my shop", " /shop", "/shop\n", "/my\u2003shop", " ")
        ),
        (with_headers(ce_specversion=None), "MISSING_ATTRIBUTE"),
        (with_headers(ce_specversion=b"0.3"), "UNSUPPORTED_SPECVERSION"),
        (with_headers(ce_time=b"yesterday"), "INVALID_TIME"),
        (with_headers(ce_time=b"2026-02-30T00:00:00Z"), "INVALID_TIME"),
        (with_headers(ce_time=b"2026-11-21T02:30:00"), "INVALID_TIME"),
        (with_headers(ce_time=b"2016-12-31T22:59:60Z"), "INVALID_TIME"),
        (with_headers(ce_subject=b""), "MALFORMED_EVENT"),
        (with_headers(ce_subject=b"\xff"), "MALFORMED_EVENT"),
        (with_headers(**{"ce_Bad-Name": b"1"}), "MALFORMED_EVENT"),
        (with_headers(ce_data=b"1"), "MALFORMED_EVENT"),
        (Record(topic="t", key=b"\xff", value=b"{}", headers=()), "MALFORMED_EVENT"),
        (Record(topic="t", key=None, value=b"{}", headers=()), "MALFORMED_EVENT"),
        (Record(topic="t", key=None, value=None, headers=()), "MALFORMED_EVENT"),
    ],
)
def test_refuses_what_is_no_event(record: Record, code: str) -> None:
    """What cannot be read is refused with a code for the dead letter."""
    with pytest.raises(MalformedEvent) as refused:
        decode(record)

    assert refused.value.code == code


@pytest.mark.parametrize(
    ("value", "code"),
    [
        (b"", "MALFORMED_EVENT"),
        (b"not json", "MALFORMED_EVENT"),
        (b"\xff", "MALFORMED_EVENT"),
        (b"[1]", "MALFORMED_EVENT"),
        (b"[" * 100_000, "MALFORMED_EVENT"),
        (b'{"specversion":"1.0","source":"/s","type":"t"}', "MISSING_ATTRIBUTE"),
        (b'{"id":"1","source":"/s","type":"t"}', "MISSING_ATTRIBUTE"),
        (b'{"specversion":"0.3","id":"1","source":"/s","type":"t"}', "UNSUPPORTED_SPECVERSION"),
        (b'{"specversion":"1.0","id":"1","source":"/my s","type":"t"}', "MALFORMED_EVENT"),
        (b'{"specversion":"1.0","id":1,"source":"/s","type":"t"}', "MALFORMED_EVENT"),
        (
            b'{"specversion":"1.0","id":"1","source":"/s","type":"t","time":"x"}',
            "INVALID_TIME",
        ),
        (
            b'{"specversion":"1.0","id":"1","source":"/s","type":"t","time":7}',
            "MALFORMED_EVENT",
        ),
        (
            b'{"specversion":"1.0","id":"1","source":"/s","type":"t","data":1,"data_base64":"MQ=="}',
            "MALFORMED_EVENT",
        ),
        (b'{"specversion":"1.0","id":"1","source":"/s","type":"t","A":1}', "MALFORMED_EVENT"),
        (b'{"specversion":1.0,"id":"1","source":"/s","type":"t"}', "UNSUPPORTED_SPECVERSION"),
    ],
)
def test_refuses_broken_structured_events(value: bytes, code: str) -> None:
    """A broken structured event is refused; above all no id is made up for it."""
    record = Record(
        topic="t",
        key=None,
        value=value,
        headers=(("content-type", b"application/cloudevents+json; charset=utf-8"),),
    )

    with pytest.raises(MalformedEvent) as refused:
        decode(record)

    assert refused.value.code == code


def test_structured_without_time_has_none() -> None:
    """A missing time stays missing: the record's own time counts then."""
    record = Record(
        topic="t",
        key=None,
        value=b'{"specversion":"1.0","id":"1","source":"/s","type":"t","big":true,"n":7}',
        headers=(("content-type", b"application/cloudevents+json"),),
    )

    decoded = decode(record)

    assert decoded.time is None
    assert decoded.data == b""
    assert decoded.extensions == {"big": "true", "n": "7"}


def test_a_time_beyond_the_years() -> None:
    """A time that UTC cannot express is malformed, not an accident."""
    headers = (
        ("ce_specversion", b"1.0"),
        ("ce_id", b"1"),
        ("ce_source", b"/s"),
        ("ce_type", b"t"),
        ("ce_time", b"0001-01-01T00:00:00+14:00"),
    )

    with pytest.raises(MalformedEvent, match="years"):
        decode(Record(topic="t", key=b"k", value=b"{}", headers=headers))

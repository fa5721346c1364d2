"""The forms that the specifications of Kafka and CloudEvents leave to a client, and the verdict on each."""

from __future__ import annotations

from base64 import b64encode
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any

from tests.foreign_clients.build import LANGUAGES

COMPLETED = "COMPLETED"

#: By language; the default of each is in it. One whose partitions are not Java's is tried more often.
_PARTITIONERS = {
    "js": {"murmur2": 1, "legacy": 4},
    "go": {"fnv": 4, "crc32": 4, "random": 4},
    "java": {"murmur2": 1, "round-robin": 4},
}
_COMPRESSIONS = ("none", "gzip", "snappy", "lz4", "zstd")

#: Times of RFC 3339, and others.
_TIMES = {
    "in UTC": ("2026-11-21T02:30:00Z", COMPLETED),
    "with an offset": ("2026-11-21T02:30:00.5+05:45", COMPLETED),
    "with the offset -00:00": ("2026-11-21T02:30:00-00:00", COMPLETED),
    "in lower case": ("2026-11-21t02:30:00.123z", COMPLETED),
    "in nanoseconds": ("2026-11-21T02:30:00.123456789Z", COMPLETED),
    "in a leap second": ("2016-12-31T23:59:60Z", COMPLETED),
    "in a leap second elsewhere": ("2017-01-01T05:44:60.5+05:45", COMPLETED),
    "without an offset": ("2026-11-21T02:30:00", "INVALID_TIME"),
    "of no calendar": ("2026-02-30T02:30:00Z", "INVALID_TIME"),
    "in the basic form": ("20261121T023000Z", "INVALID_TIME"),
    "in milliseconds since 1970": ("1795228200000", "INVALID_TIME"),
}

_JSON_TYPES = ("application/json; charset=utf-8", "Application/JSON", "application/vnd.orders+json")
_STRUCTURED_TYPES = (
    "application/cloudevents+json; charset=UTF-8",
    "application/cloudevents+json;charset=utf-8",
    "Application/CloudEvents+JSON",
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Variant:
    """A start command in one form."""

    name: str
    #: COMPLETED, or the reason of the dead letter.
    verdict: str = COMPLETED
    #: The clients that can produce the form.
    languages: tuple[str, ...] = LANGUAGES
    #: Changes the order; see tests/foreign_clients/client.py.
    order: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: Changes the event that the SDK is given.
    event: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: Changes the data of the start command.
    data: Mapping[str, Any] = field(default_factory=dict[str, Any])
    without: frozenset[str] = frozenset()
    has_key: bool = True


def variants() -> list[Variant]:
    """Every form, each under its own name."""
    return [*_transports(), *_identities(), *_headers(), *_envelopes(), *_extensions(), *_times()]


def _transports() -> Iterator[Variant]:
    for mode in ("binary", "structured"):
        for compression in _COMPRESSIONS:
            yield Variant(
                name=f"{mode}, compression {compression}",
                order={"mode": mode, "compression": compression},
            )
    for language, partitioners in _PARTITIONERS.items():
        for partitioner, count in partitioners.items():
            for number in range(1, count + 1):
                yield Variant(
                    name=f"partitioner {partitioner}" + (f", {number}" if count > 1 else ""),
                    languages=(language,),
                    order={"partitioner": partitioner},
                )


def _identities() -> Iterator[Variant]:
    yield Variant(name="subject without key", has_key=False)
    yield Variant(name="key without subject", without=frozenset(("subject",)))
    yield Variant(name="neither key nor subject", has_key=False, without=frozenset(("subject",)))
    yield Variant(
        name="another subject than the key",
        event={"subject": "another-workflow"},
        verdict="CONFLICTING_IDS",
    )


def _headers() -> Iterator[Variant]:
    yield Variant(name="header names in upper case", order={"upper": True})
    for content_type in _JSON_TYPES:
        yield _replaced(f"content-type {content_type}", "content-type", content_type.encode())
    yield Variant(name="no content-type", order={"drop": ["content-type"]})
    for content_type in _STRUCTURED_TYPES:
        yield _replaced(
            f"content-type {content_type}", "content-type", content_type.encode(), mode="structured"
        )
    yield Variant(
        name="structured without content-type",
        order={"mode": "structured", "drop": ["content-type"]},
        verdict="MALFORMED_EVENT",
    )
    for other in ("application/cloudevents-batch+json", "application/cloudevents+xml"):
        yield _replaced(
            f"content-type {other}",
            "content-type",
            other.encode(),
            mode="structured",
            verdict="MALFORMED_EVENT",
        )
    yield _added("own header without a value", "x-nothing", None, languages=("go", "java"))
    yield _added("own header that is not UTF-8", "x-bytes", b"\xff\x00")
    yield _added("own header in other letters", "x-größe", "größer".encode())
    yield _added(
        "header name that is not UTF-8",
        b"x-\xff",
        b"1",
        languages=("go",),
        verdict="MALFORMED_EVENT",
    )
    yield _added(
        "attribute without a value",
        "ce_correlationid",
        None,
        languages=("go", "java"),
    )
    yield _replaced(
        "subject without a value",
        "ce_subject",
        None,
        languages=("go", "java"),
        verdict="MALFORMED_EVENT",
    )
    yield _replaced("subject that is not UTF-8", "ce_subject", b"\xff", verdict="MALFORMED_EVENT")
    yield _replaced("empty id", "ce_id", b"", verdict="MISSING_ATTRIBUTE")
    yield _replaced("version 0.3", "ce_specversion", b"0.3", verdict="UNSUPPORTED_SPECVERSION")
    yield _added("type twice, the same", "ce_type", b"orchestration.workflow.start")
    yield _added(
        "type twice, differently",
        "ce_type",
        b"orchestration.workflow.cancel",
        verdict="MALFORMED_EVENT",
    )


def _envelopes() -> Iterator[Variant]:
    yield Variant(name="structured, data as bytes", order={"mode": "structured", "base64": True})
    yield Variant(
        name="structured, with attributes as headers too",
        order={
            "mode": "structured",
            "headers": [
                _pair("ce_specversion", b"1.0"),
                _pair("ce_id", b"as-header"),
                _pair("ce_source", b"/as/header"),
                _pair("ce_type", b"orchestration.workflow.start"),
            ],
        },
    )
    yield _enveloped("structured, null attributes", {"dataschema": None, "comment": None})
    yield _enveloped("structured, version 0.3", {"specversion": "0.3"}, "UNSUPPORTED_SPECVERSION")
    yield _enveloped("structured, empty source", {"source": ""}, "MISSING_ATTRIBUTE")
    yield _enveloped("structured, id is a number", {"id": 7}, "MALFORMED_EVENT")
    yield _enveloped("structured, data twice", {"data_base64": "e30="}, "MALFORMED_EVENT")


def _extensions() -> Iterator[Variant]:
    extensions = {
        "correlationid": "corr-1",
        "traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01",
        "shop": "größer als 世界",
        "empty": "",
        "count": 7,
        "urgent": True,
    }
    for mode in ("binary", "structured"):
        yield Variant(name=f"{mode}, extensions", event=extensions, order={"mode": mode})
    yield Variant(
        name="an extension with a capital",
        order={"headers": [_pair("ce_orderId", b"1")]},
        verdict=COMPLETED,
    )


def _times() -> Iterator[Variant]:
    for name, (time, verdict) in _TIMES.items():
        yield _replaced(f"time {name}", "ce_time", time.encode(), verdict=verdict)
        yield _enveloped(f"structured, time {name}", {"time": time}, verdict)
        yield Variant(
            name=f"data, time {name}",
            data={"dueAt": time},
            verdict=verdict if verdict == COMPLETED else "INVALID_INPUT",
        )
    yield Variant(name="time as the SDK writes it", event={"time": "2026-11-21T02:30:00.5+05:45"})
    yield Variant(
        name="structured, time as the SDK writes it",
        event={"time": "2026-11-21T02:30:00.123456789+05:45"},
        order={"mode": "structured"},
    )
    yield Variant(name="no time", order={"drop": ["ce_time"]})


def _added(
    name: str,
    header: str | bytes,
    value: bytes | None,
    *,
    languages: tuple[str, ...] = LANGUAGES,
    verdict: str = COMPLETED,
) -> Variant:
    order = {"headers": [_pair(header, value)]}
    return Variant(name=name, order=order, languages=languages, verdict=verdict)


def _replaced(
    name: str,
    header: str,
    value: bytes | None,
    *,
    mode: str = "binary",
    languages: tuple[str, ...] = LANGUAGES,
    verdict: str = COMPLETED,
) -> Variant:
    order = {"mode": mode, "drop": [header], "headers": [_pair(header, value)]}
    return Variant(name=name, order=order, languages=languages, verdict=verdict)


def _enveloped(name: str, envelope: Mapping[str, Any], verdict: str = COMPLETED) -> Variant:
    return Variant(name=name, order={"mode": "structured", "envelope": envelope}, verdict=verdict)


def _pair(name: str | bytes, value: bytes | None) -> list[str | None]:
    text = name.encode() if isinstance(name, str) else name
    return [b64encode(text).decode(), None if value is None else b64encode(value).decode()]

"""The only reader of JSON texts, so that REST, Kafka, command line and definitions accept and refuse the same.

JSON can express more than a store can keep: an integer beyond 64 bits, `1e400`, half of a surrogate pair, a thousand
nested lists. Common readers disagree about such texts, and some change them silently. Here all are refused alike, with
the path of the value.
"""

from __future__ import annotations

import json
import re
from collections.abc import Iterator
from itertools import islice
from math import inf, isfinite
from typing import Any, cast

import orjson

Fault = dict[str, str]

#: How deep objects and lists of a document may be nested. MongoDB allows 100 levels, and an accepted value becomes
#: part of templates, events and commits.
NESTING_MAX = 64
INTEGER_MIN, INTEGER_MAX = -(2**63), 2**63 - 1
_FAULTS_MAX = 100

_BOM = b"\xef\xbb\xbf"
_NUMBER = (
    "cannot be stored: an integer has 64 bits, a decimal ends before 1.8e308, and NaN and Infinity"
    " do not exist in JSON; write the value as a text"
)
_SURROGATE = "has half of a surrogate pair (\\ud800 to \\udfff), which is not a character"


class NotJson(ValueError):
    """The text is not JSON; the message is a sentence."""


class UnstorableJson(ValueError):
    """JSON with values that cannot be stored; `faults` are `{path, message}`."""

    def __init__(self, faults: tuple[Fault, ...]) -> None:
        super().__init__("; ".join(f"{fault['path']}: {fault['message']}" for fault in faults))
        self.faults = faults


def read_json(text: bytes | str) -> Any:
    """The document. Raises NotJson, UnstorableJson with every value that cannot be stored."""
    data = utf8(text)
    faults = unstorable_in(data)
    if faults:
        raise UnstorableJson(faults)
    try:
        return orjson.loads(data)
    except orjson.JSONDecodeError as error:
        raise NotJson(why_not_json(data)) from error


def utf8(text: bytes | str) -> bytes:
    """The text as bytes without a byte order mark."""
    data = text.encode("utf-8", "surrogatepass") if isinstance(text, str) else text
    return data[len(_BOM) :] if data[:3] == _BOM else data


def why_not_json(data: bytes) -> str:
    """A sentence that explains why a text is not JSON."""
    if data[:2] == b"\x1f\x8b":
        return "the text is compressed with gzip; send it uncompressed"
    if data[:2] in (b"\xff\xfe", b"\xfe\xff") or b"\0" in data[:4]:
        return "the text is UTF-16 or UTF-32; write it as UTF-8"
    try:
        data.decode()
        orjson.loads(data)
    except UnicodeDecodeError as error:
        return f"the text is not UTF-8: byte 0x{data[error.start]:02x} at position {error.start}"
    except orjson.JSONDecodeError as error:
        return f"not JSON: {error}"
    return "not JSON"


# -- what can be stored --------------------------------------------------------------------------

#: Digits become 0, and what joins them to an exponent stays: a number out of range is then a fixed pattern.
_OUTLINE = bytes(
    ord("0") if chr(code).isdigit() else ord("e") if code in b"eE" else code if code == 43 else 32
    for code in range(128)
) + bytes([32] * 128)
_LONG_NUMBER = b"0" * len(str(INTEGER_MAX))
#: Where a number may begin, one of 19 digits or with an exponent of three.
_LARGE_NUMBER = re.compile(rb"(?:\A|[\[,:\s])-?(?:\d{19}|[\d.]+[eE]\+?\d{3})")


def _is_suspicious(data: bytes, nesting: int) -> bool:
    """A quick check: False is certain, True only means that the text must be checked value by value."""
    if data.count(b"{") + data.count(b"[") > nesting:
        return True
    if b"\\ud" in data or b"\\uD" in data or b"NaN" in data or b"Infinity" in data:
        return True
    outline = data.translate(_OUTLINE)
    has_such_digits = _LONG_NUMBER in outline or b"0e000" in outline or b"0e+000" in outline
    # Ids such as UUIDs have them within their texts.
    return has_such_digits and _LARGE_NUMBER.search(data) is not None


def unstorable_in(data: bytes, nesting: int = NESTING_MAX) -> tuple[Fault, ...]:
    """Every value of the text that cannot be stored. Raises NotJson, though not for every text that is not JSON."""
    if not _is_suspicious(data, nesting):
        return ()
    return tuple(
        islice(unstorable_values(read_loosely(data, nesting), nesting=nesting), _FAULTS_MAX)
    )


def require_storable(value: Any) -> None:
    """Raises UnstorableJson."""
    faults = tuple(islice(unstorable_values(value), _FAULTS_MAX))
    if faults:
        raise UnstorableJson(faults)


def unstorable_values(value: Any, path: str = "", *, nesting: int = NESTING_MAX) -> Iterator[Fault]:
    """What within a Python value cannot be stored as JSON, by path."""
    if isinstance(value, dict | list) and nesting > 0:
        if isinstance(value, dict):
            inner = _members(cast("dict[object, Any]", value), path)
        else:
            items = cast("list[object]", value)
            inner = ((f"{path}[{place}]", item, None) for place, item in enumerate(items))
        for inner_path, item, fault in inner:
            if fault is not None:
                yield {"path": inner_path, "message": fault}
            else:
                yield from unstorable_values(item, inner_path, nesting=nesting - 1)
    elif (message := _fault_of(value)) is not None:
        yield {"path": path, "message": message}


def _members(fields: dict[object, Any], path: str) -> Iterator[tuple[str, Any, str | None]]:
    """Each member's path and value; a fault if its key is none."""
    for name, item in fields.items():
        if not isinstance(name, str):
            yield path, item, f"the key {name!r} is not a text; write it in quotes"
        elif not _is_text(name):
            yield path, item, f"a key {_SURROGATE}"
        else:
            yield f"{path}.{name}" if path else name, item, None


def _fault_of(value: Any) -> str | None:
    match value:
        case None | bool():
            return None
        case str():
            return None if _is_text(value) else _SURROGATE
        case int():
            return None if INTEGER_MIN <= value <= INTEGER_MAX else _NUMBER
        case float():
            return None if isfinite(value) else _NUMBER
        case dict() | list():
            return f"nested more than {NESTING_MAX} deep; pass a reference, or the value as a text"
        case _:
            kind = type(value).__name__
            return f"a {kind} is not a JSON value; write it as a text, in quotes"


def _is_text(value: str) -> bool:
    return value.isascii() or not any("\ud800" <= character <= "\udfff" for character in value)


# -- reading what should not have been written -----------------------------------------------------


def read_loosely(data: bytes, nesting: int = NESTING_MAX, *, any_bytes: bool = False) -> Any:
    """The document as its writer meant it, with values that cannot be stored. Raises NotJson.

    What is nested too deeply is cut, one level below what is allowed. With `any_bytes` a text that
    is not UTF-8 is read as well; its wrong bytes become half surrogates.
    """
    try:
        text = data.decode("utf-8", "surrogateescape" if any_bytes else "strict")
        return json.loads(_cut(text, nesting + 1), parse_int=_integer)
    except (ValueError, RecursionError) as error:
        raise NotJson(why_not_json(data)) from error


def _integer(text: str) -> int | float:
    # Python refuses to read integers of thousands of digits; the value of one out of range is not needed.
    return int(text) if len(text) <= len(str(INTEGER_MIN)) else inf


#: A string (also one without its end), or a bracket.
_TOKEN = re.compile(r'"[^"\\]*+(?:\\.[^"\\]*+)*+(?:"|\\?\Z)|[\[{\]}]', re.DOTALL)


def _cut(text: str, nesting: int) -> str:
    """The text with null in place of what is nested more deeply."""
    if text.count("{") + text.count("[") <= nesting:
        return text
    kept: list[str] = []
    depth, begin = 0, 0
    for token in _TOKEN.finditer(text):
        mark = token[0]
        if mark in "[{":
            depth += 1
            if depth == nesting + 1:
                kept += (text[begin : token.start()], "null")
                begin = len(text)
        elif mark in "]}":
            if depth == nesting + 1:
                begin = token.end()
            depth -= 1
    kept.append(text[begin:])
    return "".join(kept)


def cleaned(value: Any) -> Any:
    """The value with null for numbers that cannot be stored, and a replacement for half surrogates."""
    if isinstance(value, str):
        return value.encode("utf-16", "surrogatepass").decode("utf-16", "replace")
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return {cleaned(name): cleaned(inner) for name, inner in fields.items()}
    if isinstance(value, list):
        return [cleaned(inner) for inner in cast("list[object]", value)]
    return None if any(unstorable_values(value)) else value

"""Any JSON document as BSON.

BSON can represent nearly all of JSON. That part is stored as it is, so that people can query it. The rest is kept as
JSON text: keys that begin with `$` (`$ref` with `$id` comes back as another type), keys with a null character, and
integers beyond 64 bits signed. Otherwise one such field in an input would stop a partition for ever (PROTOCOL A2).
"""

from __future__ import annotations

from typing import Any, cast

import bson
import orjson
from bson.errors import InvalidDocument
from bson.raw_bson import RawBSONDocument

from application.ports import Document

#: Where a document keeps those of its fields that are stored as JSON text.
TEXT_FIELD = "asJsonText"

#: The highest BSON type that JSON becomes (64 bit integer is 0x12).
_LAST_TYPE = 0x13
_INT64_MIN, _INT64_MAX = -(2**63), 2**63 - 1


class EncodedDocument(RawBSONDocument):
    """BSON ready to be sent. PyMongo checks whether it is empty, which alone would decode it again."""

    def __bool__(self) -> bool:
        return True


def encode(document: Document) -> EncodedDocument:
    """The document in BSON, with fields that BSON cannot hold moved to `asJsonText`."""
    plain = encode_plain(document)
    return EncodedDocument(bson.encode(_with_text(document))) if plain is None else plain


def decode(stored: Document) -> Document:
    """The document that `encode` was given. Changes `stored`."""
    text: dict[str, str] | None = stored.pop(TEXT_FIELD, None)
    if text is not None:
        stored.update((name, orjson.loads(value)) for name, value in text.items())
    return stored


def encode_plain(document: Document) -> EncodedDocument | None:
    """The document in BSON, or None if BSON cannot hold all of it."""
    try:
        encoded = bson.encode(document)
    except (InvalidDocument, OverflowError):
        return None
    # Much faster than checking every key. A length of 36 is also a dollar byte, but follows a null.
    if _may_have_dollar_key(encoded) and not is_plain(document):
        return None
    return EncodedDocument(encoded)


def _may_have_dollar_key(encoded: bytes) -> bool:
    """Whether some dollar sign follows what could be the type of an element, as a key would."""
    place = encoded.find(b"$")
    while place >= 0:
        if 0 < encoded[place - 1] <= _LAST_TYPE:
            return True
        place = encoded.find(b"$", place + 1)
    return False


def is_plain(value: Any) -> bool:
    """Whether BSON represents this JSON value exactly."""
    if isinstance(value, dict):
        fields = cast("dict[str, Any]", value)
        return all(
            not key.startswith("$") and "\0" not in key and is_plain(inner)
            for key, inner in fields.items()
        )
    if isinstance(value, list):
        return all(is_plain(inner) for inner in cast("list[Any]", value))
    # Not `in range(...)`, which counts through the range for what the driver makes of long integers.
    return not isinstance(value, int) or _INT64_MIN <= value <= _INT64_MAX


def to_text(value: Any) -> str:
    return orjson.dumps(value).decode()


def _with_text(document: Document) -> Document:
    plain = {name: value for name, value in document.items() if is_plain(value)}
    text = {name: to_text(value) for name, value in document.items() if name not in plain}
    return {**plain, TEXT_FIELD: text}

"""Makes foreign text safe for a terminal: shown, but never executed as escape sequences."""

from __future__ import annotations

import json
import re

#: Control characters, which a terminal executes; marks that reorder text; and half characters.
_UNPRINTABLE = re.compile("[\x00-\x1f\x7f-\x9f\u200e\u200f\u2028-\u202e\u2066-\u2069\ud800-\udfff]")
_SHORT = {"\n": "\\n", "\r": "\\r", "\t": "\\t"}


def printable(text: str) -> str:
    """The text on one line, each unprintable character as its escape sequence."""
    return _UNPRINTABLE.sub(lambda found: _SHORT.get(found[0]) or _escaped(found), text)


def printable_lines(text: str) -> str:
    """The same for text of several lines."""
    return "\n".join(printable(line) for line in text.split("\n"))


def json_text(document: object, indent: int | None = None) -> str:
    """The document as JSON that a terminal can show: the same document, whatever its texts contain."""
    text = json.dumps(document, indent=indent, ensure_ascii=False)
    # `dumps` has escaped the line ends within texts; those that are left are of the layout.
    return _UNPRINTABLE.sub(
        lambda found: found[0] if found[0] == "\n" else f"\\u{ord(found[0]):04x}", text
    )


def is_printable(text: str) -> bool:
    """Whether text of several lines can be shown as it is."""
    return printable_lines(text) == text


def _escaped(found: re.Match[str]) -> str:
    code = ord(found[0])
    return f"\\x{code:02x}" if code < 0x100 else f"\\u{code:04x}"

"""JSON input of commands: as an option, in a file, or on stdin."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Any, cast

from conveyor.json_text import NotJson, UnstorableJson, read_json, why_not_json

from infrastructure.cli.client import Json
from infrastructure.cli.failures import Exit, fail


class InputError(ValueError):
    """The text is not a JSON object that can be stored; the message says why.

    `code` is NOT_JSON or INVALID_INPUT.
    """

    def __init__(self, message: str, code: str = "INVALID_INPUT") -> None:
        super().__init__(message)
        self.code = code


def read_input(given: str | None, option: str = "--input") -> Json:
    """The object that the option gives; an empty one without the option. Ends the command for anything else."""
    if given is None:
        return {}
    try:
        if given == "-":
            text = sys.stdin.buffer.read()
        elif given.startswith("@"):
            text = Path(given[1:]).read_bytes()
        else:
            text = given.encode("utf-8", "surrogateescape")
        return read_object(text)
    except OSError as fault:
        fail(f"{option} {given}: {fault.strerror}", Exit.USAGE)
    except InputError as fault:
        fail(f"{option}: {fault}", Exit.USAGE)


def read_object(text: bytes) -> Json:
    """The JSON object. Raises InputError."""
    try:
        document: Any = read_json(text)
    except NotJson as fault:
        raise InputError(str(fault), "NOT_JSON") from fault
    except UnstorableJson as fault:
        raise InputError(str(fault)) from fault
    if not isinstance(document, dict):
        raise InputError("must be a JSON object")
    return cast(Json, document)


def read_lines(content: bytes) -> list[tuple[int, bytes]]:
    """The lines that are not empty, with their numbers.

    Raises InputError for a file that is not lines of UTF-8, for example UTF-16 or a compressed file.
    """
    beginning = content[:4]
    if beginning[:2] in (b"\xff\xfe", b"\xfe\xff", b"\x1f\x8b") or b"\0" in beginning:
        raise InputError(why_not_json(content), "NOT_JSON")
    lines = enumerate(content.splitlines(), start=1)
    return [(number, text) for number, text in lines if text.strip()]

"""Definition documents as text: JSON, or YAML within bounds."""

from __future__ import annotations

from typing import Any, cast

import yaml
from conveyor.json_text import NotJson, read_loosely, utf8

from application.ports import Document

#: Values of a document, each alias counted with everything that it stands for.
VALUES_MAX = 100_000

_Loader: type[yaml.SafeLoader] = getattr(yaml, "CSafeLoader", yaml.SafeLoader)


class UnreadableDocument(ValueError):
    """The message is a sentence; `code` is NOT_JSON, NOT_YAML or TOO_LARGE."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def read_document(text: bytes, media_type: str = "") -> Document:
    """The document, whatever its form; JSON is tried first unless the media type says YAML.

    It may hold values that cannot be stored; `compile_definition` refuses them with their paths.

    Raises UnreadableDocument.
    """
    if "yaml" not in media_type:
        try:
            return read_loosely(utf8(text))
        except NotJson as fault:
            if "json" in media_type:
                raise UnreadableDocument("NOT_JSON", str(fault)) from fault
    return _read_yaml(text)


def _read_yaml(text: bytes) -> Document:
    try:
        document = yaml.load(text, _Loader)  # noqa: S506 - a safe loader, the quick one where it is there
        _count(document, {})
    except (yaml.YAMLError, UnicodeDecodeError, ValueError) as fault:
        if isinstance(fault, UnreadableDocument):
            raise
        raise UnreadableDocument("NOT_YAML", f"not YAML: {_reason(fault)}") from fault
    except RecursionError as fault:
        raise UnreadableDocument("TOO_LARGE", "the document is nested too deeply") from fault
    return document


def _reason(fault: Exception) -> str:
    if isinstance(fault, yaml.MarkedYAMLError) and fault.problem_mark is not None:
        mark = fault.problem_mark
        what = " ".join(part for part in (fault.context, fault.problem) if part)
        return f"{what} (line {mark.line + 1}, column {mark.column + 1})"
    return str(fault)


def _count(value: object, known: dict[int, int]) -> int:
    """How many values the document has when its aliases are written out: few lines can stand for millions."""
    if not isinstance(value, dict | list):
        return 1
    children = cast("dict[Any, Any] | list[Any]", value)
    counted = known.get(id(children))
    if counted is None:
        known[id(children)] = VALUES_MAX  # an alias of what is being counted has no end
        inner = children.values() if isinstance(children, dict) else children
        counted = 1 + sum(_count(child, known) for child in inner)
        known[id(children)] = counted
    if counted > VALUES_MAX:
        raise UnreadableDocument("TOO_LARGE", f"the document has more than {VALUES_MAX} values")
    return counted

"""Definition documents as text: JSON, or YAML within bounds."""

from __future__ import annotations

from conveyor.json_text import NotJson, read_loosely, utf8

from adapters.rest.bounded_yaml import NotYaml, YamlTooLarge, read_yaml
from application.ports import Document


class UnreadableDocument(ValueError):
    """The message is a sentence; `code` is NOT_JSON, NOT_YAML or TOO_LARGE."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code


def read_document(text: bytes, media_type: str = "") -> Document:
    """The document, in either form. JSON is tried first unless the media type says YAML.

    It may hold values that cannot be stored; `compile_definition` refuses them with their paths.

    Raises UnreadableDocument.
    """
    if "yaml" not in media_type:
        try:
            return read_loosely(utf8(text))
        except NotJson as fault:
            if "json" in media_type:
                raise UnreadableDocument("NOT_JSON", str(fault)) from fault
    try:
        return read_yaml(text)
    except NotYaml as fault:
        raise UnreadableDocument("NOT_YAML", str(fault)) from fault
    except YamlTooLarge as fault:
        raise UnreadableDocument("TOO_LARGE", str(fault)) from fault

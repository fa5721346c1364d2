"""Finds the line of a fault in a definition file from the fault's path."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import suppress

import yaml

from adapters.rest.bounded_yaml import NotYaml, YamlTooLarge, compose_yaml


class Lines:
    """The lines of one text."""

    def __init__(self, text: bytes) -> None:
        self._root: yaml.Node | None = None
        with suppress(NotYaml, YamlTooLarge):
            self._root = compose_yaml(text)

    def line_of(self, path: str) -> int | None:
        """The line of the innermost part that the path names; None for a text that is not YAML.

        Paths name steps by place (`steps[1].service`) or by id (`steps.pay.service`).
        """
        node = self._root
        if node is None:
            return None
        line, rest = node.start_mark.line, path
        while rest:
            found = max(_parts(node, rest), key=lambda part: len(part[0]), default=None)
            if found is None:
                break
            name, line, node = found
            rest = rest[len(name) :].removeprefix(".")
        return line + 1


def _parts(node: yaml.Node, path: str) -> Iterator[tuple[str, int, yaml.Node]]:
    """The parts of the node with which the path may continue: name, line, and the part itself."""
    if isinstance(node, yaml.MappingNode):
        for key, value in node.value:
            if _begins(path, str(key.value)):
                yield key.value, key.start_mark.line, value
    elif isinstance(node, yaml.SequenceNode):
        for place, item in enumerate(node.value):
            for name in (f"[{place}]", *_ids(item)):
                if _begins(path, name):
                    yield name, item.start_mark.line, item


def _ids(node: yaml.Node) -> Iterator[str]:
    if isinstance(node, yaml.MappingNode):
        yield from (str(value.value) for key, value in node.value if key.value == "id")


def _begins(path: str, name: str) -> bool:
    return path == name or path.startswith((f"{name}.", f"{name}["))

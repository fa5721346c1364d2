"""YAML with limits: a few bytes of it can mean millions of values, or nest until the C stack overflows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import Any, cast

import yaml
from conveyor.json_text import NESTING_MAX

#: Keys and values of a document. Each alias counts with everything that it stands for.
VALUES_MAX = 200_000
#: Characters of an integer. YAML 1.1 reads `1:30:00` to the base of 60, in quadratic time.
_INTEGER_LENGTH_MAX = 100


class NotYaml(ValueError):
    """The text is not YAML; the message is a sentence."""


class YamlTooLarge(ValueError):
    """The document is over a bound; the message is a sentence."""


#: The C loader if available, subclassed so that other readers keep their constructors.
_Loader = cast(
    "type[yaml.SafeLoader]", type("_Loader", (getattr(yaml, "CSafeLoader", yaml.SafeLoader),), {})
)


def _integer(loader: yaml.SafeLoader, node: yaml.ScalarNode) -> int:
    if len(node.value) > _INTEGER_LENGTH_MAX:
        raise yaml.constructor.ConstructorError(
            problem=f"a number has more than {_INTEGER_LENGTH_MAX} characters",
            problem_mark=node.start_mark,
        )
    return loader.construct_yaml_int(node)


_Loader.add_constructor("tag:yaml.org,2002:int", _integer)


def read_yaml(text: bytes) -> Any:
    """The document, which may hold values that JSON does not have. Raises NotYaml, YamlTooLarge."""
    return _within_bounds(text, yaml.load)


def compose_yaml(text: bytes) -> yaml.Node | None:
    """The document's nodes, which know their lines; None for an empty text. Raises as `read_yaml`."""
    return _within_bounds(text, yaml.compose)


def _within_bounds(text: bytes, read: Callable[[bytes, type[yaml.SafeLoader]], Any]) -> Any:
    try:
        _require_bounded(text)
        return read(text, _Loader)
    except YamlTooLarge:
        raise
    except Exception as fault:
        # PyYAML's constructors raise KeyError, IndexError and others for an explicit tag such as `!!bool maybe`.
        raise NotYaml(f"not YAML: {_reason(fault)}") from fault


def _require_bounded(text: bytes) -> None:
    for extent in _extents(text):
        if extent.values > VALUES_MAX:
            raise YamlTooLarge(f"the document has more than {VALUES_MAX} keys and values")
        if extent.levels > NESTING_MAX:
            raise YamlTooLarge(f"the document is nested deeper than {NESTING_MAX} levels")


@dataclass
class _Extent:
    """How many keys and values a node has, itself included, and over how many levels."""

    values: int = 1
    levels: int = 0
    anchor: str | None = None

    def take(self, child: _Extent) -> None:
        self.values += child.values
        self.levels = max(self.levels, 1 + child.levels)


#: An alias within the node that it stands for has no end.
_ENDLESS = _Extent(values=VALUES_MAX + 1)


def _extents(text: bytes) -> Iterator[_Extent]:
    """The extent of what is read so far, again after each event.

    It is counted on the parser's events: the composer in C recurses without a check, and a merge key (`<<`)
    writes its aliases out while the document is built.
    """
    anchored: dict[str, _Extent] = {}
    opened = [_Extent()]
    for event in yaml.parse(text, _Loader):
        anchor: str | None = getattr(event, "anchor", None)
        if isinstance(event, yaml.CollectionStartEvent):
            opened.append(_Extent(levels=1, anchor=anchor))
            if anchor is not None:
                anchored[anchor] = _ENDLESS
            yield _Extent(levels=len(opened) - 1)
            continue
        if isinstance(event, yaml.CollectionEndEvent):
            node = opened.pop()
        elif isinstance(event, yaml.ScalarEvent):
            node = _Extent(anchor=anchor)
        elif isinstance(event, yaml.AliasEvent):
            node = anchored.get(anchor or "", _Extent())
        else:
            continue
        if node.anchor is not None:
            anchored[node.anchor] = node
        opened[-1].take(node)
        yield _Extent(opened[-1].values, len(opened) - 1 + node.levels)


def _reason(fault: Exception) -> str:
    if isinstance(fault, yaml.MarkedYAMLError) and fault.problem_mark is not None:
        mark = fault.problem_mark
        what = " ".join(part for part in (fault.context, fault.problem) if part)
        return f"{what} (line {mark.line + 1}, column {mark.column + 1})"
    if isinstance(fault, yaml.YAMLError | ValueError):
        return str(fault)
    return f"a value does not have the type of its tag ({type(fault).__name__})"

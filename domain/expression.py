"""Input mappings: a JSON shape whose leaves may be expressions, compiled outside, evaluated here."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any, Protocol, cast


class ExpressionError(Exception):
    """An expression that compiles but cannot be evaluated on this document; the message names it and why."""


class Expression(Protocol):
    """An expression over `{input, steps: {<id>: {output}}, context}`; application compiles it (JMESPath)."""

    @property
    def source(self) -> str: ...

    @property
    def references(self) -> frozenset[tuple[str, ...]]:
        """The field paths that it reads, as far as they are fixed: `('steps', 'pick', 'output', 'bin')`."""
        ...

    def evaluate(self, document: Mapping[str, Any]) -> Any:
        """Raises ExpressionError."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """What a step's input is made from.

    `shape` is an Expression, a mapping or list of shapes, or a plain JSON value.
    """

    shape: Any

    @staticmethod
    def literal(value: Any) -> Template:
        return Template(value)

    def render(self, document: Mapping[str, Any]) -> Any:
        return _render(self.shape, document)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(_expressions(self.shape))


EMPTY = Template({})


def _render(shape: Any, document: Mapping[str, Any]) -> Any:
    if isinstance(shape, dict):
        items = cast("dict[str, Any]", shape)
        return {name: _render(inner, document) for name, inner in items.items()}
    if isinstance(shape, list):
        return [_render(inner, document) for inner in cast("list[Any]", shape)]
    evaluate = cast("Callable[[Mapping[str, Any]], Any] | None", getattr(shape, "evaluate", None))
    return shape if evaluate is None else evaluate(document)


def _expressions(shape: Any) -> list[Expression]:
    if isinstance(shape, dict):
        values = cast("dict[str, Any]", shape).values()
        return [found for inner in values for found in _expressions(inner)]
    if isinstance(shape, list):
        return [found for inner in cast("list[Any]", shape) for found in _expressions(inner)]
    return [cast(Expression, shape)] if hasattr(shape, "evaluate") else []

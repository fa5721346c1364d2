"""Input mappings: JSON shapes whose leaves may be expressions. The application compiles them; this evaluates them."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping
from dataclasses import dataclass, field
from typing import Any, Protocol, cast

_Render = Callable[[Mapping[str, Any]], Any]


class ExpressionError(Exception):
    """A valid expression cannot be evaluated on this document. The message names the expression and the reason."""


class Expression(Protocol):
    """An expression over `{input, steps: {<id>: {output}}, context}`; application compiles it (JMESPath)."""

    @property
    def source(self) -> str: ...

    @property
    def references(self) -> frozenset[tuple[str, ...]]:
        """The field paths that it reads, as far as they are fixed, for example `('steps', 'pick', 'output', 'bin')`."""
        ...

    @property
    def is_path(self) -> bool:
        """It only reads one field, so its value is part of the document."""
        ...

    def evaluate(self, document: Mapping[str, Any]) -> Any:
        """Raises ExpressionError."""
        ...


@dataclass(frozen=True, slots=True)
class Template:
    """A template from which a step's input is made.

    `shape` is an Expression, a mapping or list of shapes, or a plain JSON value.
    """

    shape: Any
    _render: _Render = field(init=False, repr=False, compare=False)
    #: How often the result can contain the document, at most. None if an expression may produce more than that.
    copies: int | None = field(init=False, repr=False, compare=False)
    #: The bytes that the result has in addition, at most.
    fixed_bytes: int = field(init=False, repr=False, compare=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_render", _renderer(self.shape))
        expressions = self.expressions
        only_paths = all(expression.is_path for expression in expressions)
        object.__setattr__(self, "copies", len(expressions) if only_paths else None)
        object.__setattr__(self, "fixed_bytes", _fixed_bytes(self.shape))

    @staticmethod
    def literal(value: Any) -> Template:
        return Template(value)

    def render(self, document: Mapping[str, Any]) -> Any:
        """Raises ExpressionError."""
        return self._render(document)

    @property
    def expressions(self) -> tuple[Expression, ...]:
        return tuple(expression for _, expression in self.placed_expressions(""))

    def placed_expressions(self, path: str) -> tuple[tuple[str, Expression], ...]:
        """Every expression with its place in the definition document, given that the template is at `path`."""
        return tuple(_expressions(self.shape, path))

    def carries(self, path: tuple[str, ...]) -> bool:
        """Whether the result contains the whole value at that path."""
        return any(
            expression.is_path and expression.references == frozenset((path,))
            for expression in self.expressions
        )


def _renderer(shape: Any) -> _Render:
    """The shape compiled to a function, so that it is not traversed again for every request."""
    if isinstance(shape, dict):
        items = cast("dict[str, Any]", shape).items()
        fields = [(name, _renderer(inner)) for name, inner in items]
        return lambda document: {name: render(document) for name, render in fields}
    if isinstance(shape, list):
        elements = [_renderer(inner) for inner in cast("list[Any]", shape)]
        return lambda document: [render(document) for render in elements]
    evaluate = cast("_Render | None", getattr(shape, "evaluate", None))
    return evaluate or (lambda _: shape)


def _fixed_bytes(shape: Any) -> int:
    """An upper bound. The values of expressions are not counted."""
    if isinstance(shape, dict):
        items = cast("dict[str, Any]", shape).items()
        return 2 + sum(6 * len(name) + 4 + _fixed_bytes(inner) for name, inner in items)
    if isinstance(shape, list):
        return 2 + sum(1 + _fixed_bytes(inner) for inner in cast("list[Any]", shape))
    return 4 if hasattr(shape, "evaluate") else 6 * len(repr(shape))


def _expressions(shape: Any, path: str) -> Iterator[tuple[str, Expression]]:
    if isinstance(shape, dict):
        for name, inner in cast("dict[str, Any]", shape).items():
            yield from _expressions(inner, f"{path}.{name}")
    elif isinstance(shape, list):
        for place, inner in enumerate(cast("list[Any]", shape)):
            yield from _expressions(inner, f"{path}[{place}]")
    elif hasattr(shape, "evaluate"):
        yield path, cast(Expression, shape)


EMPTY = Template({})

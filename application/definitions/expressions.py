"""JMESPath behind the domain's `Expression`: compiled once, plain paths without an interpreter."""

from __future__ import annotations

import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Any, cast

import jmespath
from jmespath.exceptions import JMESPathError
from jmespath.functions import Functions

from application.definitions.evaluation import Node, evaluate
from domain.definition.expression import Expression, ExpressionError

Path = tuple[str, ...]

_FUNCTIONS = cast("dict[str, dict[str, Any]]", Functions.FUNCTION_TABLE)
#: Nodes that select from the value of their first child.
_STEPS_INTO = frozenset(
    ("subexpression", "projection", "value_projection", "filter_projection", "flatten")
)
#: What jmespath raises during evaluation: its own errors, and those of functions on unexpected values.
_EVALUATION_ERRORS = (
    JMESPathError,
    ArithmeticError,
    LookupError,
    RecursionError,
    TypeError,
    ValueError,
)


class InvalidExpression(ValueError):
    """The text is not JMESPath, calls an unknown function, or calls a function wrongly."""


@dataclass(frozen=True, slots=True)
class FieldPath:
    """A plain path such as `input.order.id`, read without the interpreter."""

    source: str
    names: Path

    @property
    def references(self) -> frozenset[Path]:
        return frozenset((self.names,))

    @property
    def is_path(self) -> bool:
        return True

    def evaluate(self, document: Mapping[str, Any]) -> Any:
        value: Any = document
        try:
            for name in self.names:
                value = value.get(name)
        except AttributeError:
            return None
        return value


@dataclass(frozen=True, slots=True)
class JmesPath:
    """Any other expression."""

    source: str
    references: frozenset[Path]
    tree: Node = field(compare=False, repr=False)

    @property
    def is_path(self) -> bool:
        return False

    def evaluate(self, document: Mapping[str, Any]) -> Any:
        """Raises ExpressionError if a function does not accept its arguments, or the value is too large."""
        try:
            return evaluate(self.tree, document)
        except _EVALUATION_ERRORS as fault:
            raise ExpressionError(f"{self.source!r} cannot be evaluated: {fault}") from fault


@dataclass(frozen=True, slots=True)
class ObjectExpression:
    """An expression that produces a whole input, which must be an object."""

    inner: Expression

    @property
    def source(self) -> str:
        return self.inner.source

    @property
    def references(self) -> frozenset[Path]:
        return self.inner.references

    @property
    def is_path(self) -> bool:
        return self.inner.is_path

    def evaluate(self, document: Mapping[str, Any]) -> Any:
        """Raises ExpressionError, also for a value that is not an object."""
        value = self.inner.evaluate(document)
        if not isinstance(value, Mapping):
            kind = "null" if value is None else type(cast(object, value)).__name__
            raise ExpressionError(f"{self.source!r} gives {kind}; an input must be an object")
        return cast("Mapping[str, Any]", value)


def compile_expression(source: str) -> FieldPath | JmesPath:
    """Raises InvalidExpression."""
    try:
        compiled = jmespath.compile(source)
        tree = cast(Node, compiled.parsed)
        _check(tree)
        names = _plain_path(tree)
        if names is not None:
            return FieldPath(source, names)
        return JmesPath(source, _references(tree), tree)
    except InvalidExpression:
        raise
    except (ValueError, RecursionError) as fault:  # jmespath's own are ValueErrors
        reason = str(fault).partition("\n")[0].removesuffix(", for expression:").rstrip(":")
        message = f"{source!r} is not a JMESPath expression: {reason}{_advice(source)}"
        raise InvalidExpression(message) from fault


#: Words with hyphens outside quotes.
_HYPHENATED = re.compile(r"""(?<![\w"'`-])[A-Za-z_]\w*(?:-\w+)+(?![\w"'`-])""")
_PLAIN_TEXT = re.compile(r"[\w ,;:!?/+-]+")


def _advice(source: str) -> str:
    """A suggestion for a text that is not an expression."""
    quoted = _HYPHENATED.sub(lambda name: f'"{name[0]}"', source)
    if "." in source and quoted != source and _compiles(quoted):
        return f"; a name with '-' stands in quotes: {quoted}"
    if _PLAIN_TEXT.fullmatch(source):
        return f"; write a text as \"'{source}'\""
    return ""


def _compiles(source: str) -> bool:
    try:
        jmespath.compile(source)
    except ValueError:
        return False
    return True


def _plain_path(tree: Node) -> Path | None:
    if tree["type"] == "field":
        return (tree["value"],)
    if tree["type"] != "subexpression":
        return None
    parts = [_plain_path(child) for child in tree["children"]]
    if any(part is None for part in parts):
        return None
    return tuple(name for part in parts for name in part or ())


def _check(node: Node) -> None:
    """Raises InvalidExpression for faults that jmespath would find only during evaluation, or never."""
    if node["type"] in _STEPS_INTO and node["children"][0]["type"] == "not_expression":
        raise InvalidExpression("'!' takes only the one name behind it; write !(a.b) for !a.b")
    if node["type"] == "function_expression":
        name, count = node["value"], len(node["children"])
        function = _FUNCTIONS.get(name)
        if function is None:
            raise InvalidExpression(f"there is no function {name}()")
        signature = function["signature"]
        is_variadic = bool(signature) and bool(signature[-1].get("variadic"))
        if count < len(signature) or (count > len(signature) and not is_variadic):
            raise InvalidExpression(f"{name}() takes {len(signature)} arguments, not {count}")
    for child in node["children"]:
        if isinstance(child, dict):
            _check(cast(Node, child))


# -- references ----------------------------------------------------------------------------------


def _references(tree: Node) -> frozenset[Path]:
    found: set[Path] = set()
    _record(found, _walk(tree, (), found))
    return frozenset(found)


def _record(found: set[Path], path: Path | None) -> None:
    if path is not None:
        found.add(path)


def _walk(node: Node, here: Path | None, found: set[Path]) -> Path | None:
    """The path of the node's value, relative to a value at `here`; None if it is not fixed.

    A path whose value is used for anything but a further field is added to `found`.
    """
    children = cast("list[Node]", node["children"])
    match node["type"]:
        case "field":
            return None if here is None else (*here, node["value"])
        case "current" | "identity":
            return here
        case "subexpression" | "pipe":
            for child in children:
                here = _walk(child, here, found)
            return here
        case "index_expression":
            _record(found, _walk(children[0], here, found))
        case "projection" | "value_projection" | "filter_projection":
            _record(found, _walk(children[0], here, found))
            for child in children[1:]:
                _walk(child, None, found)
        case "expref":
            _walk(children[0], None, found)
        case "literal" | "index" | "slice":
            pass
        case _:
            for child in children:
                _record(found, _walk(child, here, found))
    return None

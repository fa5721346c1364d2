"""JMESPath with limits: a short expression can produce more than any memory holds.

`[@, @][]`, piped into itself thirty times, is a list of a thousand million values. An engine that tried to evaluate
it would crash. The message would come again after each restart, so its partition would stop for ever.
"""
# The stubs have a type for the nodes of the interpreter that cannot be imported.
# pyright: reportIncompatibleMethodOverride=false, reportArgumentType=false

from __future__ import annotations

from math import isfinite
from typing import Any, cast

from conveyor.json_text import INTEGER_MAX, INTEGER_MIN
from jmespath.exceptions import JMESPathTypeError
from jmespath.visitor import TreeInterpreter

#: A node of jmespath's syntax tree: `type`, `children`, and often `value`.
Node = dict[str, Any]

#: Values that may be visited, compared, copied or created; some tenths of a second at most.
EVALUATION_MAX = 500_000
#: As deep as a message may be: values become part of templates, events and commits.
DEPTH_MAX = 64
_CHARACTERS_PER_VALUE = 8
#: Functions that traverse their whole argument.
_WALKING_FUNCTIONS = frozenset(("contains", "to_string"))


class OutOfBounds(ValueError):
    """The expression exceeds a limit, or produces a value that JSON does not have."""


def evaluate(tree: Node, document: Any) -> Any:
    """The value of the expression, which is JSON. Raises OutOfBounds, and what jmespath raises."""
    interpreter = _Bounded()
    value = interpreter.visit(tree, document)
    interpreter.walk(value)
    return value


class _Bounded(TreeInterpreter):
    """One evaluation and its remaining allowance. Whatever can grow is charged before it is created."""

    def __init__(self) -> None:
        super().__init__()
        self._left = EVALUATION_MAX

    def visit(self, node: Node, *args: Any, **kwargs: Any) -> Any:
        self._spend(1)
        return super().visit(node, *args, **kwargs)

    def visit_flatten(self, node: Node, value: Any) -> Any:
        base: Any = self.visit(node["children"][0], value)
        if isinstance(base, list):
            items = cast("list[Any]", base)
            self._spend(sum(_length(item) if isinstance(item, list) else 1 for item in items))
        return super().visit_flatten({**node, "children": [_literal(base)]}, value)

    def visit_slice(self, node: Node, value: Any) -> Any:
        self._spend(_length(value))
        return super().visit_slice(node, value)

    def visit_comparator(self, node: Node, value: Any) -> Any:
        sides = [self.visit(child, value) for child in node["children"]]
        for side in sides:
            self.walk(side)
        return super().visit_comparator({**node, "children": [*map(_literal, sides)]}, value)

    def visit_function_expression(self, node: Node, value: Any) -> Any:
        name: str = node["value"]
        arguments = [self.visit(child, value) for child in node["children"]]
        for argument in arguments:
            self._spend(_length(argument))
            if name in _WALKING_FUNCTIONS:
                self.walk(argument)
        if name == "join":
            self._spend_joined(*arguments)
        literals = [_literal(argument) for argument in arguments]
        try:
            return super().visit_function_expression({**node, "children": literals}, value)
        except JMESPathTypeError as fault:
            # Its own text contains the whole value, however large it is.
            expected = " or ".join(map(str, fault.expected_types))
            raise TypeError(f"{name}() takes {expected}, not {fault.actual_type}") from None

    def walk(self, value: Any, depth: int = 0) -> None:
        """Charge every value, as often as it occurs. Raises OutOfBounds for values that JSON does not have."""
        self._spend(1)
        if depth > DEPTH_MAX:
            raise OutOfBounds(f"the value is nested more than {DEPTH_MAX} deep")
        match value:
            case None | bool():
                pass
            case str():
                self._walk_text(value)
            case int():
                # Not `in range(...)`, which counts through the range for any type derived from `int`.
                if not INTEGER_MIN <= value <= INTEGER_MAX:
                    raise OutOfBounds("the value has an integer of more than 64 bits")
            case float():
                if not isfinite(value):
                    raise OutOfBounds(f"the value has the number {value}, which JSON does not know")
            case list():
                for item in cast("list[Any]", value):
                    self.walk(item, depth + 1)
            case dict():
                for name, item in cast("dict[str, Any]", value).items():
                    self._walk_text(name)
                    self.walk(item, depth + 1)
            case _:
                raise OutOfBounds(
                    "the value is an expression; & belongs into a function's argument"
                )

    def _walk_text(self, text: str) -> None:
        self._spend(len(text) // _CHARACTERS_PER_VALUE)
        if not text.isascii():
            text.encode()

    def _spend_joined(self, glue: Any, texts: Any) -> None:
        if isinstance(texts, list):
            for text in cast("list[Any]", texts):
                self._spend(1 + _length(text) + _length(glue))

    def _spend(self, values: int) -> None:
        self._left -= values
        if self._left < 0:
            raise OutOfBounds(f"the evaluation needs more than {EVALUATION_MAX} values")


def _length(value: Any) -> int:
    """The cost of a shallow copy."""
    if isinstance(value, str):
        return len(value) // _CHARACTERS_PER_VALUE
    return len(cast("list[Any]", value)) if isinstance(value, list | dict) else 0


def _literal(value: Any) -> Node:
    """A node for a value that is already evaluated."""
    return {"type": "literal", "value": value, "children": []}

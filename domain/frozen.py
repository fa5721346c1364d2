"""Changing frozen values: a copy with some fields changed."""

from __future__ import annotations

import operator
from collections.abc import Callable, Mapping
from dataclasses import fields
from functools import lru_cache
from itertools import repeat
from typing import Any, TypeVar, cast

Value = TypeVar("Value")
_Read = Callable[[Any], tuple[Any, ...]]
_Put = Callable[[Any, Any], None]
_call = cast("Callable[[_Put, Any, Any], None]", operator.call)


@lru_cache(maxsize=64)
def _copying(cls: type[Any]) -> tuple[_Read, Mapping[str, _Put]]:
    """How all fields of a slotted dataclass are read at once, and how each is set."""
    put = {item.name: getattr(cls, item.name).__set__ for item in fields(cls)}
    return operator.attrgetter(*put), put


def changed(value: Value, **changes: Any) -> Value:
    """As `dataclasses.replace`, at less than half its cost, for slotted dataclasses without `__post_init__`.

    Every event of every workflow makes two such copies.
    """
    cls = type(value)
    read, put = _copying(cls)
    copy = object.__new__(cls)
    # Setters answer None, so `any` runs them all, without a step of the interpreter for each.
    any(map(_call, put.values(), repeat(copy), read(value)))
    for name, new in changes.items():
        put[name](copy, new)
    return copy

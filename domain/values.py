"""Values: what is made once and never changed, and copies of them with some fields changed."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field, fields
from functools import lru_cache
from typing import Any, TypeVar, dataclass_transform

Value = TypeVar("Value")


@dataclass_transform(
    eq_default=True, frozen_default=True, kw_only_default=True, field_specifiers=(field,)
)
def value(cls: type[Value]) -> type[Value]:
    """A slotted dataclass that the type checker holds frozen (ADR 16).

    Frozen at run time as well, each of its fields would cost four times as much to set, and every
    event of every workflow makes half a dozen values.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)


@lru_cache(maxsize=64)
def _copying(cls: type[Any]) -> Callable[[Any], Any]:
    """A function that copies every field of such a value, each by a statement of its own."""
    lines = [f"    copy.{item.name} = value.{item.name}" for item in fields(cls)]
    source = "\n".join(("def copied(value):", "    copy = new(cls)", *lines, "    return copy"))
    names: dict[str, Any] = {"cls": cls, "new": object.__new__}
    exec(source, names)  # noqa: S102 - as dataclasses make their methods, of field names only
    return names["copied"]


def changed(value: Value, **changes: Any) -> Value:
    """As `dataclasses.replace`, at a third of its cost, for values without `__post_init__`.

    Every event of every workflow makes two such copies.
    """
    copy = _copying(type(value))(value)
    for name, new in changes.items():
        setattr(copy, name, new)
    return copy

"""Values: immutable dataclasses."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TypeVar, dataclass_transform

Value = TypeVar("Value")


@dataclass_transform(
    eq_default=True, frozen_default=True, kw_only_default=True, field_specifiers=(field,)
)
def value(cls: type[Value]) -> type[Value]:
    """A slotted dataclass that the type checker holds frozen.

    Frozen at run time as well, each of its fields would cost four times as much to set, and every
    step of every workflow makes a dozen values.
    """
    return dataclass(slots=True, kw_only=True, unsafe_hash=True)(cls)

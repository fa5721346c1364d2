"""Values: what is made once and never changed, and copies of them with some fields changed.

The only module of the domain that is not of the standard library alone (ADR 30): a dozen values are made for
every message, and nothing in the standard library makes a value that is both frozen and fast.
"""

from __future__ import annotations

from typing import Any, TypeVar, dataclass_transform

import msgspec

AnyValue = TypeVar("AnyValue", bound="Value")

#: A field's default that is made again for each value: `field(default_factory=dict[str, Any])`.
field = msgspec.field


class _ValueType(msgspec.StructMeta):
    """Gives every value the same options: `kw_only` counts for the fields of one class, not of its subclasses."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> _ValueType:
        options = {"frozen": True, "kw_only": True, "gc": False, **options}
        return super().__new__(cls, name, bases, namespace, **options)


@dataclass_transform(
    eq_default=True, frozen_default=True, kw_only_default=True, field_specifiers=(field,)
)
class Value(msgspec.Struct, metaclass=_ValueType):
    """A frozen, slotted and hashable record. Its fields are given by name, unless `kw_only=False`.

    The garbage collector does not watch it: a value holds what existed before it, so values form trees and
    never cycles.
    """


def fields_of(value: Value) -> dict[str, Any]:
    """Its fields by name."""
    return msgspec.structs.asdict(value)


def changed(value: AnyValue, **changes: Any) -> AnyValue:
    """The value with these fields changed."""
    return msgspec.structs.replace(value, **changes)

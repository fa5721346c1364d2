"""Immutable values, and copies of them with some fields changed.

The only module of the domain that imports more than the standard library (ADR 30). Every message creates a dozen
values, and nothing in the standard library is both frozen and fast to create.
"""

from __future__ import annotations

from typing import Any, TypeVar, dataclass_transform

import msgspec

AnyValue = TypeVar("AnyValue", bound="Value")

#: For defaults that must be created for each value: `field(default_factory=dict[str, Any])`.
field = msgspec.field


class _ValueType(msgspec.StructMeta):
    """Gives every value the same options. `kw_only` applies to the fields of one class, not of its subclasses."""

    def __new__(
        cls, name: str, bases: tuple[type, ...], namespace: dict[str, Any], **options: Any
    ) -> _ValueType:
        options = {"frozen": True, "kw_only": True, "gc": False, **options}
        return super().__new__(cls, name, bases, namespace, **options)


@dataclass_transform(
    eq_default=True, frozen_default=True, kw_only_default=True, field_specifiers=(field,)
)
class Value(msgspec.Struct, metaclass=_ValueType):
    """A frozen, slotted, hashable record. Fields are passed by name, unless `kw_only=False`.

    The garbage collector does not track it. A value can only refer to objects that existed before it, so values
    never form cycles.
    """


def fields_of(value: Value) -> dict[str, Any]:
    """The fields of the value, by name."""
    return msgspec.structs.asdict(value)


def changed(value: AnyValue, **changes: Any) -> AnyValue:
    """A copy of the value with these fields changed."""
    return msgspec.structs.replace(value, **changes)

"""Immutable values."""

from __future__ import annotations

from typing import Any, dataclass_transform

import msgspec

#: A copy of a value with some fields changed.
replace = msgspec.structs.replace

#: For defaults that must be created for each value: `field(default_factory=dict[str, str])`.
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
class Value(msgspec.Struct, metaclass=_ValueType, frozen=True):
    """A frozen, slotted, hashable record whose fields are passed by name.

    The garbage collector does not track it. A value can only refer to objects that existed before it, so values
    never form cycles.
    """

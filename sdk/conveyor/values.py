"""Values: what is made once and never changed."""

from __future__ import annotations

from typing import Any, dataclass_transform

import msgspec

#: A copy of a value with some fields changed.
replace = msgspec.structs.replace

#: A field's default that is made again for each value: `field(default_factory=dict[str, str])`.
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
class Value(msgspec.Struct, metaclass=_ValueType, frozen=True):
    """A frozen, slotted and hashable record whose fields are given by name.

    The garbage collector does not watch it: a value holds what existed before it, so values form trees and
    never cycles.
    """

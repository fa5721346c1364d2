"""References to definitions: by name and version, or by id `name-vN`."""

from __future__ import annotations

import re

from conveyor.wire import COUNT_MAX

_ID = re.compile(r"(.+)-v([1-9][0-9]{0,9})")


def parse_reference(reference: str) -> tuple[str, int | None]:
    """`order-fulfillment-v1` is version 1 of order-fulfillment; any other text is a name."""
    match = _ID.fullmatch(reference)
    if match is None or int(match[2]) > COUNT_MAX:
        return reference, None
    return match[1], int(match[2])


def definition_named(reference: str, version: int | None) -> tuple[str, int | None] | None:
    """Name and version, in either form; None if the id names another version than `version`."""
    name, named_version = parse_reference(reference)
    if version is None or named_version is None:
        return name, named_version if version is None else version
    return (name, version) if version == named_version else None

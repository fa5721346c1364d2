"""The conditions of a command: once under one key, and only in one version of its workflow (RFC 9110, If-Match)."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Annotated

from fastapi import Depends, Header

from application.ports import Document
from application.use_cases.refusal import refused_for
from domain.values import Value

_ETAG = re.compile(r'"([1-9][0-9]{0,8})"')

CommandKey = Annotated[
    str | None,
    Header(
        alias="Idempotency-Key",
        description="The same command with the same key and body is carried out once (1 to 255 characters).",
        examples=["pause-order-4711"],
    ),
]
IfMatch = Annotated[
    str | None,
    Header(
        description="The version of the workflow in quotes, as its `ETag` has it; 412 in any other version.",
        examples=['"7"'],
    ),
]


class Conditions(Value):
    """What a request says of how its command is carried out."""

    idempotency_key: str | None
    expected_version: int | None


async def _conditions(key: CommandKey = None, if_match: IfMatch = None) -> Conditions:
    """Raises Refused for an If-Match that names no version."""
    version: int | None = None
    if if_match is not None and if_match.strip() != "*":
        named = _ETAG.fullmatch(if_match.strip())
        if named is None:
            message = f'{if_match[:60]!r} names no version; write it in quotes, such as "7"'
            raise refused_for([{"path": "If-Match", "message": message}])
        version = int(named[1])
    return Conditions(idempotency_key=key, expected_version=version)


TheConditions = Annotated[Conditions, Depends(_conditions)]


def etag_of(resource: Document) -> Mapping[str, str]:
    """The header that names the version of a workflow."""
    return {"ETag": f'"{resource["version"]}"'}

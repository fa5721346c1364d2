"""Bodies: read within their limit, checked as a whole, written without being validated once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson
from conveyor.messages import MalformedEvent
from conveyor.payloads import InvalidPayload, document_of, parse
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.problems import Problem, faulty
from application.ports import Document
from domain.aggregate.rejection import RejectionCode

BODY_BYTES_MAX = 1024 * 1024
#: So much of a body that is too large is read and forgotten, so that its sender gets to read the answer.
_DISCARDED_BYTES_MAX = 16 * BODY_BYTES_MAX


async def read_body(request: Request) -> bytes:
    """Raises Problem (413)."""
    chunks: list[bytes] = []
    size = 0
    async for chunk in request.stream():
        size += len(chunk)
        if size <= BODY_BYTES_MAX:
            chunks.append(chunk)
        elif size > _DISCARDED_BYTES_MAX:
            break
    if size > BODY_BYTES_MAX:
        raise Problem(
            413, RejectionCode.TOO_LARGE, f"a body has at most {BODY_BYTES_MAX} bytes (1 MiB)"
        )
    return b"".join(chunks)


def json_of(body: bytes) -> Any:
    """Raises Problem (400, or 422 for values that cannot be stored)."""
    try:
        return document_of(body)
    except MalformedEvent as fault:
        raise Problem(400, fault.code, fault.detail) from fault
    except InvalidPayload as invalid:
        raise faulty(invalid.faults) from invalid


async def read_command(request: Request, model: type[BaseModel]) -> Document:
    """The data of a command; an empty body is an empty object. Raises Problem."""
    body = await read_body(request) or b"{}"
    data: Document = json_of(body)
    try:
        parse(model, body)
    except InvalidPayload as invalid:
        raise faulty(invalid.faults) from invalid
    return data


def json_response(
    document: Document, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(document), status, headers=headers, media_type="application/json")

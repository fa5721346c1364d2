"""Bodies: read within their limit, checked as a whole, written without being validated once more."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any, TypeVar

import orjson
from conveyor.messages import MalformedEvent
from conveyor.payloads import InvalidPayload, parse, require_shallow
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.problems import Problem, faulty
from application.ports import Document
from domain.aggregate.rejection import RejectionCode

Model = TypeVar("Model", bound=BaseModel)

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
    """Raises Problem (400)."""
    try:
        return orjson.loads(body)
    except orjson.JSONDecodeError as fault:
        raise Problem(400, "NOT_JSON", f"the body is no JSON: {fault}") from fault


def checked(model: type[Model], body: bytes) -> Model:
    """The body as the model. Raises Problem (400) or InvalidPayload with every fault."""
    try:
        return parse(model, body)
    except MalformedEvent as fault:
        # Nested more deeply than a command may be.
        raise Problem(400, fault.code, fault.detail) from fault


async def read_command(request: Request, model: type[BaseModel]) -> Document:
    """The data of a command; an empty body is an empty object. Raises Problem."""
    body = await read_body(request) or b"{}"
    data: Document = json_of(body)
    try:
        checked(model, body)
        require_shallow(body)
    except InvalidPayload as invalid:
        raise faulty(invalid.faults) from invalid
    return data


def json_response(
    document: Document, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(document), status, headers=headers, media_type="application/json")

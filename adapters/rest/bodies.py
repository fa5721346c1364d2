"""Request bodies, read within a size limit and validated as a whole; response bodies, written without validation."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence

import orjson
from conveyor.payloads import InvalidPayload, document_of, parse
from pydantic import BaseModel
from starlette.requests import Request
from starlette.responses import Response

from adapters.rest.problems import Problem
from application.ports import Document
from application.use_cases.refusal import refused_for
from domain.aggregate.rejection import RejectionCode

BODY_BYTES_MAX = 1024 * 1024
#: How much of an oversized body is read and dropped, because its sender only then reads the response.
_DISCARDED_BYTES_MAX = 16 * BODY_BYTES_MAX
#: How long the next part of a body may take. Shorter than what a stop grants to running requests.
BODY_WAIT_SECONDS = 5.0
JSON_TYPES = ("application/json",)


def require_media_type(request: Request, accepted: Sequence[str] = JSON_TYPES) -> str:
    """The body's media type, empty if none is given. Raises Problem (415)."""
    given = request.headers.get("content-type", "").partition(";")[0].strip().lower()
    if given and given not in accepted:
        detail = f"a body of type {given[:100]} is not accepted here; send {' or '.join(accepted)}"
        raise Problem(415, "UNSUPPORTED_MEDIA_TYPE", detail)
    return given


async def read_body(request: Request) -> bytes:
    """Raises Problem (408, 413)."""
    chunks: list[bytes] = []
    size = 0
    parts = request.stream()
    while (chunk := await _next_part(parts)) is not None:
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


async def _next_part(parts: AsyncIterator[bytes]) -> bytes | None:
    """None at the end. Raises Problem (408)."""
    try:
        async with asyncio.timeout(BODY_WAIT_SECONDS):
            return await anext(parts, None)
    except TimeoutError:
        detail = f"nothing of the body came for {BODY_WAIT_SECONDS:g} s; send the request again"
        headers = {"Connection": "close"}
        raise Problem(408, "REQUEST_TIMEOUT", detail, headers=headers) from None


async def read_json_body(request: Request) -> bytes:
    """A body that claims to be JSON. Raises Problem (408, 413, 415)."""
    require_media_type(request)
    return await read_body(request)


async def read_command(request: Request, model: type[BaseModel]) -> Document:
    """The data of a command; an empty body is an empty object.

    Raises Problem, MalformedEvent (NOT_JSON), Refused with every fault.
    """
    body = await read_json_body(request) or b"{}"
    try:
        parse(model, body)
        return document_of(body)
    except InvalidPayload as invalid:
        raise refused_for(invalid.faults) from invalid


def json_response(
    document: Document, status: int = 200, headers: Mapping[str, str] | None = None
) -> Response:
    return Response(orjson.dumps(document), status, headers=headers, media_type="application/json")


def accepted(workflow_id: str, command_id: str, status: str | None, location: str) -> Response:
    """The command is on its topic; its outcome is not known yet."""
    document: Document = {"id": workflow_id, "commandId": command_id, "status": status}
    return json_response(document, 202, {"Location": location})

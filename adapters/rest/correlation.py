"""`X-Correlation-ID` on every response: the caller's, or a new one."""

from __future__ import annotations

import uuid

from starlette.datastructures import Headers, MutableHeaders
from starlette.requests import Request
from starlette.types import ASGIApp, Message, Receive, Scope, Send

HEADER = "X-Correlation-ID"
_LENGTH_MAX = 255
_STATE = "correlation_id"


def given_correlation_id(headers: Headers) -> str | None:
    """The caller's id; None also for one that cannot be passed on as it is."""
    given = headers.get(HEADER, "").strip()
    return given if _is_header_value(given) else None


def correlation_id(request: Request) -> str:
    """The id of this request."""
    return getattr(request.state, _STATE)


def answer_with(request: Request, chosen: str | None) -> None:
    """The body named the id that this request goes by, and no header did."""
    if chosen is None or given_correlation_id(request.headers) is not None:
        return
    if _is_header_value(chosen):
        setattr(request.state, _STATE, chosen)


def _is_header_value(text: str) -> bool:
    """Blanks at its ends are not part of a header's value."""
    is_plain = text.isascii() and text.isprintable() and text == text.strip()
    return is_plain and 0 < len(text) <= _LENGTH_MAX


class CorrelationIds:
    """ASGI middleware."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        state = scope.setdefault("state", {})
        state[_STATE] = given_correlation_id(Headers(scope=scope)) or str(uuid.uuid4())

        async def send_with_id(message: Message) -> None:
            if message["type"] == "http.response.start":
                MutableHeaders(scope=message)[HEADER] = state[_STATE]
            await send(message)

        await self._app(scope, receive, send_with_id)

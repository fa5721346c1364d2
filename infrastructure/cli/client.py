"""The API as the commands call it: answers as JSON, everything else as the command's end."""

from __future__ import annotations

import os
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar

import httpx

from infrastructure.cli.failures import Exit, exit_for, fail, told

Json = dict[str, Any]
WORKFLOWS = "/api/v1/workflows"
DEFINITIONS = "/api/v1/definitions"

_TIMEOUT = httpx.Timeout(30.0, connect=5.0)
#: A request that waits for a workflow's end is answered after it.
WAIT_MAX_SECONDS = 60.0
_WAITING = httpx.Timeout(WAIT_MAX_SECONDS + 15.0, connect=5.0)

AnyClient = TypeVar("AnyClient", httpx.Client, httpx.AsyncClient)


def new_client(kind: type[AnyClient], url: str, **options: Any) -> AnyClient:
    """An HTTP client that shows the API key of the environment, if there is one."""
    key = os.environ.get("CONVEYOR_API_KEY")
    headers = {"X-API-Key": key} if key else {}
    try:
        return kind(base_url=url, headers=headers, timeout=_TIMEOUT, **options)
    except (httpx.InvalidURL, ValueError) as fault:
        fail(f"--url {url}: {fault}", Exit.USAGE)


def document_of(response: httpx.Response) -> Any:
    """The JSON of an answer, also of a proxy that answers with something else."""
    try:
        return response.json()
    except ValueError:
        detail = response.text[:200] or response.reason_phrase
        return {
            "status": response.status_code,
            "code": f"HTTP_{response.status_code}",
            "detail": detail,
        }


def request(
    url: str,
    method: str,
    path: str,
    *,
    params: Mapping[str, Any] | None = None,
    headers: Mapping[str, str] | None = None,
    json: Any = None,
    content: bytes | None = None,
) -> httpx.Response:
    """Whatever the API answers. Ends the command where nobody answers."""
    timeout = _WAITING if params and "wait" in params else _TIMEOUT
    with new_client(httpx.Client, url) as client:
        try:
            return client.request(
                method,
                path,
                params=params,
                headers=headers,
                json=json,
                content=content,
                timeout=timeout,
            )
        except httpx.TransportError as fault:
            no_connection(url, fault)


def no_connection(url: str, fault: httpx.TransportError, besides: str = "") -> NoReturn:
    """End the command: nobody answers there, or it is no address."""
    reason = str(fault) or type(fault).__name__
    if isinstance(fault, httpx.UnsupportedProtocol):
        fail(f"--url {url}: {reason}", Exit.USAGE)
    sentence = f"no connection to {url}: {reason}; is Conveyor running there? (--url, CONVEYOR_URL)"
    fail(f"{sentence}\n{besides}".rstrip(), Exit.NO_CONNECTION)


def call(url: str, method: str, path: str, **options: Any) -> Json:
    """The document of a success. Ends the command for anything else."""
    response = request(url, method, path, **options)
    document = document_of(response)
    if not response.is_success:
        fail(told(document), exit_for(response.status_code))
    return document

"""Calls the API for the commands: returns documents, and ends the command on any failure."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping
from typing import Any, NoReturn, TypeVar, cast
from urllib.parse import quote

import httpx

from infrastructure.cli.failures import Exit, exit_for, explained, fail

Json = dict[str, Any]
WORKFLOWS = "/api/v1/workflows"
ADMIN = "/admin/workflows"
DEFINITIONS = "/api/v1/definitions"
HEALTH = "/health/workflow"

_PORT_MAX = 65_535
_TIMEOUT = httpx.Timeout(30.0, connect=5.0)

AnyClient = TypeVar("AnyClient", httpx.Client, httpx.AsyncClient)


def workflow_path(workflow_id: str, *parts: str, below: str = WORKFLOWS) -> str:
    return "/".join((below, quote(workflow_id, safe=""), *parts))


def new_client(kind: type[AnyClient], url: str, **options: Any) -> AnyClient:
    """An HTTP client that sends the API key of the environment, if there is one."""
    key = os.environ.get("CONVEYOR_API_KEY")
    if key and not (key.isascii() and key.isprintable()):
        fail("CONVEYOR_API_KEY: has characters that no API key has", Exit.USAGE)
    headers = {"X-API-Key": key} if key else {}
    return kind(base_url=_address(url), headers=headers, timeout=_TIMEOUT, **options)


def _address(url: str) -> httpx.URL:
    try:
        address = httpx.URL(url)
    except (httpx.InvalidURL, ValueError) as fault:
        fail(f"--url {url}: {fault}", Exit.USAGE)
    if address.scheme not in ("http", "https") or not address.host:
        fail(f"--url {url}: must be http://HOST:PORT or https://HOST:PORT", Exit.USAGE)
    if address.port is not None and not 0 < address.port <= _PORT_MAX:
        fail(f"--url {url}: {address.port} is not a port; they go up to {_PORT_MAX}", Exit.USAGE)
    return address


def problem_of(response: httpx.Response) -> Json:
    """The problem document of a refusal; a substitute if a proxy sent something else."""
    document = _json_of(response)
    if isinstance(document, dict) and "code" in document:
        return cast(Json, document)
    return {
        "status": response.status_code,
        "code": f"HTTP_{response.status_code}",
        "detail": response.text[:200].strip() or response.reason_phrase,
    }


def document_of(response: httpx.Response, *fields: str) -> Json:
    """The document of a success, which must have these fields. Ends the command otherwise."""
    if not response.is_success:
        fail(explained(problem_of(response)), exit_for(response.status_code))
    document = _json_of(response)
    if not isinstance(document, dict) or not all(name in document for name in fields):
        url = response.request.url.copy_with(raw_path=b"/")
        fail(f"{url} is not the API of Conveyor: look at --url or CONVEYOR_URL", Exit.NO_CONNECTION)
    return cast(Json, document)


def glance(url: str, path: str, seconds: float) -> Json:
    """The document there, in any status; empty if none comes within the time."""
    with new_client(httpx.Client, url) as client:
        try:
            response = client.get(path, timeout=seconds)
        except httpx.RequestError:
            return {}
    document = _json_of(response)
    return cast(Json, document) if isinstance(document, dict) else {}


def _json_of(response: httpx.Response) -> Any:
    try:
        return response.json()
    except ValueError:
        return None


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
    """The response of the API, whatever its status. Ends the command if there is none."""
    with new_client(httpx.Client, url) as client:
        try:
            return client.request(
                method, path, params=params, headers=headers, json=json, content=content
            )
        except httpx.RequestError as fault:
            no_connection(url, fault)


def no_connection(url: str, fault: httpx.RequestError, more: str = "") -> NoReturn:
    """End the command: nothing listens there."""
    reason = str(fault) or type(fault).__name__
    sentence = f"no connection to {url}: {reason}; is Conveyor running there? (--url, CONVEYOR_URL)"
    fail(f"{sentence}\n{more}".rstrip(), Exit.NO_CONNECTION)


def call(url: str, path: str, *fields: str, params: Mapping[str, Any] | None = None) -> Json:
    """The document at the path. Ends the command if there is none with these fields."""
    given = {name: value for name, value in (params or {}).items() if value not in (None, [])}
    response = request(url, "GET", path, params=given)
    if response.status_code == 422:
        _refuse_options(problem_of(response), given)
    return document_of(response, *fields)


def _refuse_options(problem: Json, params: Mapping[str, Any]) -> None:
    """Report a value that the API refuses as a usage error of the option that the caller gave."""
    errors: list[Json] = problem.get("errors") or []
    names = [str(fault["path"]).partition(".")[0] for fault in errors]
    if errors and all(name in params for name in names):
        lines = [
            f"{_option(name)}: {str(fault['message']).removeprefix('Value error, ')}"
            for name, fault in zip(names, errors, strict=True)
        ]
        fail("\n".join(lines), Exit.USAGE)


def _option(field: str) -> str:
    return "--" + re.sub("[A-Z]", lambda capital: f"-{capital[0].lower()}", field)

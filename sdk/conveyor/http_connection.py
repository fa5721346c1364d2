"""The REST API for clients: commands that are repeated until their outcome is known, and reads."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncGenerator, Mapping, Sequence
from typing import Any, NoReturn, TypeVar
from urllib.parse import quote

import msgspec
import orjson

from conveyor import types
from conveyor.addresses import checked_url
from conveyor.connection import Command
from conveyor.endings import Ending
from conveyor.errors import (
    OutcomeUnknownError,
    RequestRefusedError,
    ServerUnavailableError,
    UnsupportedError,
)
from conveyor.resources import ACTIVE, Event, WorkflowPage, WorkflowResource

try:
    import httpx
except ModuleNotFoundError as absent:
    raise ModuleNotFoundError(
        "a client over HTTP needs httpx: pip install 'conveyor-sdk[http]'", name="httpx"
    ) from absent

R = TypeVar("R")

_WORKFLOWS = "/api/v1/workflows"
_HISTORY_PAGE = 1_000
#: How long one try may take. The service responds to a command within about four seconds.
_TRY_SECONDS = 6.0
_CONNECT_SECONDS = 5.0
_AGAIN_SECONDS = 0.1
_AGAIN_SECONDS_MAX = 2.0
#: Between two looks at a workflow: short at first, and never longer than a person would wait.
_LOOK_SECONDS = 0.02
_LOOK_SECONDS_MAX = 2.0
_LONGER = 1.5
#: Besides those from 500 on: the request may be sent again.
_AGAIN = frozenset({408, 425, 429})

_NOT_SENT = (httpx.ConnectError, httpx.ConnectTimeout, httpx.PoolTimeout)

_CONTROLS: Mapping[str, tuple[str, str]] = {
    types.PAUSE: ("PUT", f"{_WORKFLOWS}/{{id}}/pause"),
    types.RESUME: ("PUT", f"{_WORKFLOWS}/{{id}}/resume"),
    types.CANCEL: ("PUT", f"{_WORKFLOWS}/{{id}}/cancel"),
    types.RETRY: ("PUT", f"{_WORKFLOWS}/{{id}}/retry"),
    types.COMPENSATE: ("PUT", f"{_WORKFLOWS}/{{id}}/compensate"),
    types.SIGNAL: ("POST", f"{_WORKFLOWS}/{{id}}/signal"),
    types.EXECUTE_STEP: ("POST", f"{_WORKFLOWS}/{{id}}/steps/execute"),
    types.RETRY_STEP_NOW: ("POST", f"{_WORKFLOWS}/{{id}}/steps/{{step}}/retry-now"),
    types.SKIP_STEP: ("POST", f"{_WORKFLOWS}/{{id}}/steps/{{step}}/skip"),
    types.COMPLETE_STEP: ("POST", f"{_WORKFLOWS}/{{id}}/steps/{{step}}/complete"),
    types.RESET: ("POST", f"{_WORKFLOWS}/{{id}}/reset"),
    types.PATCH: ("PATCH", f"{_WORKFLOWS}/{{id}}"),
    types.FORCE_COMPENSATE: ("POST", "/admin/workflows/{id}/force-compensate"),
}


class HttpConnection:
    """The `Connection` and the `WorkflowReads` over HTTP.

    `timeout_seconds` limits each command and each read; within it they are repeated while the service is away.
    """

    def __init__(self, url: str, *, api_key: str | None, timeout_seconds: float) -> None:
        """Raises ValueError for what is not an address."""
        headers = {"Content-Type": "application/json"}
        if api_key is not None:
            headers["Authorization"] = f"Bearer {api_key}"
        self._url = checked_url(url)
        self._timeout_seconds = timeout_seconds
        self._headers = headers
        self._client: httpx.AsyncClient | None = None

    async def open(self) -> None:
        self._client = httpx.AsyncClient(headers=self._headers)

    async def close(self) -> None:
        if self._client is not None:
            await self._client.aclose()

    @property
    def reads(self) -> HttpConnection:
        return self

    def subscribe(self, group: str | None, after: str) -> NoReturn:
        del group, after
        raise UnsupportedError(
            "HTTP has no feed of all workflows: read one with client.workflow(id).events(), "
            "or subscribe with Client.over_kafka(...)"
        )

    # -- commands --------------------------------------------------------------------------------

    async def send(self, command: Command) -> str:
        method, path, body = _request_of(command)
        headers = {"Idempotency-Key": command.idempotency_key}
        deadline = self._deadline()
        may_have_come = False
        pauses = _Pauses(_AGAIN_SECONDS, _AGAIN_SECONDS_MAX)
        detail = ""
        while True:
            try:
                response = await self._try(deadline, method, path, content=body, headers=headers)
                if response.status_code in (200, 201):
                    return _read(response, _Started).id
                if response.status_code != 202 and not _is_passing(response):
                    raise _refusal(response, command.workflow_id)
                may_have_come, detail = True, _problem(response)["detail"]
            except httpx.TransportError as error:
                may_have_come |= not isinstance(error, _NOT_SENT)
                detail = str(error) or type(error).__name__
            if not await pauses.next(deadline):
                if may_have_come:
                    raise OutcomeUnknownError(command.idempotency_key, self._timeout_seconds)
                raise ServerUnavailableError("conveyor", f"{self._url}: {detail}")

    # -- reads -----------------------------------------------------------------------------------

    async def get(self, workflow_id: str) -> WorkflowResource:
        return _read(await self._get(workflow_id, _path(workflow_id)), WorkflowResource)

    async def list(self, filters: Mapping[str, Any]) -> WorkflowPage:
        return _read(await self._get(None, _WORKFLOWS, filters), WorkflowPage)

    async def history(self, workflow_id: str, after_version: int) -> Sequence[Event]:
        events: list[Event] = []
        while page := await self._page(workflow_id, after_version):
            events.extend(page)
            after_version = page[-1].version
            if len(page) < _HISTORY_PAGE:
                break
        return events

    async def events(self, workflow_id: str, after_version: int) -> AsyncGenerator[Event, None]:
        pauses = _Pauses(_LOOK_SECONDS, _LOOK_SECONDS_MAX)
        while True:
            page = await self._page(workflow_id, after_version)
            for event in page:
                yield event
                after_version = event.version
            if page:
                pauses.start_again()
                continue
            status = await self._status(workflow_id)
            if status.status not in ACTIVE and status.version <= after_version:
                return
            await pauses.next()

    async def result(self, workflow_id: str) -> dict[str, Any]:
        pauses = _Pauses(_LOOK_SECONDS, _LOOK_SECONDS_MAX)
        while True:
            try:
                ending = await self.ending(workflow_id)
            except ServerUnavailableError:
                # It is being started again, for example. The caller's time-out limits the waiting.
                pass
            else:
                if ending.has_come:
                    return ending.result()
            await pauses.next()

    async def ending(self, workflow_id: str) -> Ending:
        """How the workflow has ended, if it has."""
        ending = Ending(workflow_id)
        status = (await self._status(workflow_id)).status
        if status == "COMPLETED":
            events = await self._page(workflow_id, 0, types.COMPLETED)
        elif status in ACTIVE:
            events = ()
        else:
            # It may go on meanwhile, by a retry for example. The history then says so.
            events = await self.history(workflow_id, 0)
        for event in events:
            ending.take(event.type, event.data)
        return ending

    async def _status(self, workflow_id: str) -> _Status:
        return _read(await self._get(workflow_id, f"{_path(workflow_id)}/status"), _Status)

    async def _page(
        self, workflow_id: str, after_version: int, type: str | None = None
    ) -> Sequence[Event]:
        parameters: dict[str, Any] = {"after": after_version, "limit": _HISTORY_PAGE}
        if type is not None:
            parameters["type"] = type
        response = await self._get(workflow_id, f"{_path(workflow_id)}/history", parameters)
        items = _read(response, _History).items
        try:
            return [msgspec.convert({**item, "workflowId": workflow_id}, Event) for item in items]
        except msgspec.ValidationError as error:
            raise _not_conveyors(response, error) from error

    async def _get(
        self, workflow_id: str | None, path: str, parameters: Mapping[str, Any] | None = None
    ) -> httpx.Response:
        """The response, with the status 200. Raises RequestRefusedError, ServerUnavailableError."""
        deadline = self._deadline()
        pauses = _Pauses(_AGAIN_SECONDS, _AGAIN_SECONDS_MAX)
        while True:
            try:
                response = await self._try(deadline, "GET", path, params=parameters)
                if response.status_code == 200:
                    return response
                if not _is_passing(response):
                    raise _refusal(response, workflow_id)
                detail = _problem(response)["detail"]
            except httpx.TransportError as error:
                detail = str(error) or type(error).__name__
            if not await pauses.next(deadline):
                raise ServerUnavailableError("conveyor", f"{self._url}: {detail}")

    # -- one request -----------------------------------------------------------------------------

    def _deadline(self) -> float:
        return asyncio.get_running_loop().time() + self._timeout_seconds

    async def _try(self, deadline: float, method: str, path: str, **options: Any) -> httpx.Response:
        """Raises httpx.TransportError."""
        assert self._client is not None, "not open"
        seconds = min(_TRY_SECONDS, max(0.0, deadline - asyncio.get_running_loop().time()))
        timeout = httpx.Timeout(seconds, connect=min(_CONNECT_SECONDS, seconds))
        return await self._client.request(method, self._url + path, timeout=timeout, **options)


class _Started(msgspec.Struct):
    id: str


class _Status(msgspec.Struct):
    status: str
    version: int


class _History(msgspec.Struct):
    items: list[dict[str, Any]]


class _Pauses:
    """Waits between tries, each time a little longer."""

    def __init__(self, first: float, longest: float) -> None:
        self._first = self._seconds = first
        self._longest = longest

    def start_again(self) -> None:
        self._seconds = self._first

    async def next(self, deadline: float | None = None) -> bool:
        """False, at once, if the deadline comes first."""
        if deadline is not None and asyncio.get_running_loop().time() + self._seconds > deadline:
            return False
        await asyncio.sleep(self._seconds)
        self._seconds = min(self._longest, self._seconds * _LONGER)
        return True


def _path(workflow_id: str) -> str:
    return f"{_WORKFLOWS}/{quote(workflow_id, safe='')}"


def _request_of(command: Command) -> tuple[str, str, bytes]:
    """Method, path and body."""
    if command.type == types.START:
        body = orjson.loads(command.data)
        if command.workflow_id is not None:
            body["id"] = command.workflow_id
        return "POST", _WORKFLOWS, orjson.dumps(body)
    method, path = _CONTROLS[command.type]
    workflow_id = quote(command.workflow_id or "", safe="")
    if "{step}" not in path:
        return method, path.format(id=workflow_id), command.data
    body = orjson.loads(command.data)
    step = quote(body.pop("stepId"), safe="")
    return method, path.format(id=workflow_id, step=step), orjson.dumps(body)


def _is_passing(response: httpx.Response) -> bool:
    return response.status_code >= 500 or response.status_code in _AGAIN


def _read(response: httpx.Response, model: type[R]) -> R:
    """Raises ServerUnavailableError for what is not Conveyor's."""
    try:
        return msgspec.json.decode(response.content, type=model)
    except msgspec.DecodeError as error:
        raise _not_conveyors(response, error) from error


def _not_conveyors(response: httpx.Response, error: msgspec.DecodeError) -> ServerUnavailableError:
    detail = f"{response.url} does not respond as Conveyor does: {error}"
    return ServerUnavailableError("conveyor", detail)


def _problem(response: httpx.Response) -> dict[str, Any]:
    """The problem document; a substitute where a proxy sent something else."""
    substitute = {"code": f"HTTP_{response.status_code}", "detail": f"HTTP {response.status_code}"}
    try:
        document: Any = orjson.loads(response.content)
    except orjson.JSONDecodeError:
        return substitute
    return {**substitute, **document} if isinstance(document, dict) else substitute


def _refusal(response: httpx.Response, workflow_id: str | None) -> RequestRefusedError:
    problem = _problem(response)
    return RequestRefusedError(
        problem["code"],
        problem["detail"],
        workflow_id=workflow_id,
        workflow_status=problem.get("workflowStatus"),
        allowed_commands=problem.get("allowedCommands") or (),
        errors=problem.get("errors") or (),
    )

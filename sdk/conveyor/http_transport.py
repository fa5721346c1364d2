"""Requests and replies over HTTP: leases of the worker protocol instead of a topic.

The service keeps cursors and key records. What it says of a request with its lease is all that the key store here
knows.
"""

from __future__ import annotations

import asyncio
import logging
from collections import Counter
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any, cast
from urllib.parse import quote

import orjson

from conveyor import types
from conveyor.cloudevents import structured, unstructured
from conveyor.errors import ServerUnavailableError
from conveyor.keys import UNDO_SUFFIX, KeyRecord, is_final, performed, unknown
from conveyor.leases import LEASES_MAX
from conveyor.messages import Message, Record
from conveyor.replies import without_output
from conveyor.topics import step_requests
from conveyor.transport import Taken

try:
    import httpx
except ModuleNotFoundError as absent:
    raise ModuleNotFoundError(
        "the HTTP transport needs httpx: pip install 'conveyor-sdk[http]'", name="httpx"
    ) from absent

log = logging.getLogger(__name__)

_TAKE_MAX = 100
_WAIT_SECONDS = 20
_AGAIN_SECONDS = 1.0
_PAUSE_SECONDS = 0.05
#: Besides those from 500 on: the same call may be taken a moment later. An answer must not be given up for it.
_AGAIN = frozenset({408, 425, 429})
#: No definition names it yet.
_UNKNOWN_SERVICE = "UNKNOWN_SERVICE"
#: Of a body, with some room for what stands around the answers.
_BODY_BYTES_MAX = 1024 * 1024 - 1024


@dataclass(frozen=True, slots=True)
class _Lent:
    taken: Taken
    lease: str
    service: str


class HttpTransport:
    """The `Transport` over HTTP, with the `KeyStore` that belongs to it.

    `url` is the address of `conveyor dev`, or of a service with the role `workers`. `worker_id` names this process
    for people. `client` may have settings of its own, such as certificates. `on_joined` is called once, when the
    service has answered for each service that this serves.
    """

    def __init__(
        self,
        url: str,
        *,
        worker_id: str,
        lease_seconds: int = 15,
        api_key: str | None = None,
        client: httpx.AsyncClient | None = None,
        on_joined: Callable[[], None] | None = None,
    ) -> None:
        self._http = client or httpx.AsyncClient(timeout=httpx.Timeout(10, read=60))
        self._headers = {"Content-Type": "application/json"}
        if api_key is not None:
            self._headers["Authorization"] = f"Bearer {api_key}"
        self._url = url.rstrip("/")
        self._worker_id = worker_id
        self._lease_seconds = lease_seconds
        self.key_store = LeasedKeys()
        self._next = 0
        #: offset here -> what it stands for
        self._lent: dict[int, _Lent] = {}
        self._waiting: list[Taken] = []
        self._arrived = asyncio.Event()
        self._wanted = asyncio.Event()
        self._tasks: list[asyncio.Task[None]] = []
        self._on_joined = on_joined
        self._not_joined: set[str] = set()

    async def start(self, participant: str, services: Sequence[str]) -> None:
        del participant  # the service knows workers by their ids
        if not self._tasks:
            self._not_joined = set(services)
            self._tasks = [asyncio.create_task(self._keep_taking(each)) for each in services]
            self._tasks.append(asyncio.create_task(self._keep_extending()))

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        if limit == 0:
            return ()
        if not self._waiting:
            self._wanted.set()
            self._arrived.clear()
            try:
                async with asyncio.timeout(wait_seconds):
                    await self._arrived.wait()
            except TimeoutError:
                return ()
        taken, self._waiting = self._waiting[:limit], self._waiting[limit:]
        return taken

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        by_cause = {
            reply.extensions["causationid"]: reply
            for reply in replies
            if isinstance(reply, Message)
        }
        answers: dict[str, list[bytes]] = {}
        for each in done:
            lent = self._lent.get(each.offset)
            reply = by_cause.get(each.message.id)
            # Without a reply the lease ends, and the service asks again.
            if lent is not None and reply is not None:
                answers.setdefault(lent.service, []).append(_answer(lent.lease, reply))
        await asyncio.gather(*(self._answer(service, each) for service, each in answers.items()))
        for each in done:
            if self._lent.pop(each.offset, None) is not None:
                self.key_store.forget(each.message)

    async def close(self) -> None:
        """Requests without a reply are given out again when their leases end."""
        for task in self._tasks:
            task.cancel()
        if self._tasks:
            await asyncio.wait(self._tasks)
        await self._http.aclose()

    # -- taking ----------------------------------------------------------------------------------

    async def _keep_taking(self, service: str) -> None:
        trouble: str | None = None
        while True:
            await self._wanted.wait()
            try:
                response = await self._post(f"{_path(service)}/take", self._asked(service))
                self._joined(service)
                for request in response["requests"]:
                    self._receive(service, request)
            except Exception as error:  # noqa: BLE001 - whatever answers there, the worker asks again
                if str(error) != trouble:
                    trouble = str(error)
                    log.warning("Cannot take requests of %s, trying again: %s", service, error)
                if isinstance(error, _Refused) and error.code == _UNKNOWN_SERVICE:
                    self._joined(service)
                await asyncio.sleep(_AGAIN_SECONDS)
            else:
                trouble = None
                if not response["requests"]:
                    # A service that is being stopped does not wait.
                    await asyncio.sleep(_PAUSE_SECONDS)

    def _asked(self, service: str) -> bytes:
        """The body of a take. The first one does not wait where somebody wants to know that it was answered."""
        at_once = self._on_joined is not None and service in self._not_joined
        return orjson.dumps(
            {
                "workerId": self._worker_id,
                "max": _TAKE_MAX,
                "waitSeconds": 0 if at_once else _WAIT_SECONDS,
                "leaseSeconds": self._lease_seconds,
            }
        )

    def _joined(self, service: str) -> None:
        if service in self._not_joined:
            self._not_joined.remove(service)
            if self._on_joined is not None and not self._not_joined:
                self._on_joined()

    def _receive(self, service: str, request: Mapping[str, Any]) -> None:
        message = unstructured(step_requests(service), request["event"])
        taken = Taken(message, 0, self._next)
        self._next += 1
        lent = _Lent(taken, request["lease"], service)
        self.key_store.learn(message, request)
        self._lent[taken.offset] = lent
        self._waiting.append(taken)
        self._wanted.clear()
        self._arrived.set()

    async def _keep_extending(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            leases: dict[str, list[str]] = {}
            for lent in self._lent.values():
                leases.setdefault(lent.service, []).append(lent.lease)
            for service, names in leases.items():
                try:
                    await self._extend(service, names)
                except (ServerUnavailableError, _Refused) as error:
                    log.warning("Cannot extend %d leases of %s: %s", len(names), service, error)

    async def _extend(self, service: str, leases: Sequence[str]) -> None:
        for start in range(0, len(leases), LEASES_MAX):
            batch = leases[start : start + LEASES_MAX]
            body = {"leases": batch, "leaseSeconds": self._lease_seconds}
            await self._post(f"{_path(service)}/extend", orjson.dumps(body))

    # -- answering -------------------------------------------------------------------------------

    async def _answer(self, service: str, answers: Sequence[bytes]) -> None:
        for batch in _batches(answers):
            body = b'{"answers":[' + b",".join(batch) + b"]}"
            try:
                response = await self._post(f"{_path(service)}/answer", body)
            except _Refused as refused:
                # Their leases end, so the requests are given out again.
                log.error("The service takes no answers of %s: %s", service, refused)  # noqa: TRY400 - no bug
                continue
            for result in response["results"]:
                if not result["accepted"]:
                    log.warning("An answer was not taken: %s", result.get("detail"))

    async def _post(self, path: str, body: bytes) -> dict[str, Any]:
        """The response's document. Raises ServerUnavailableError, _Refused."""
        try:
            response = await self._http.post(
                f"{self._url}{path}", content=body, headers=self._headers
            )
        except httpx.TransportError as error:
            detail = str(error) or type(error).__name__
            raise ServerUnavailableError("conveyor", f"{self._url}: {detail}") from error
        if response.status_code >= 500 or response.status_code in _AGAIN:
            raise ServerUnavailableError("conveyor", f"{self._url}: {_detail(response)}")
        if response.status_code >= 400:
            raise _Refused(_code(response), _detail(response))
        try:
            document = orjson.loads(response.content)
        except orjson.JSONDecodeError:
            document = None
        if not isinstance(document, dict):
            raise ServerUnavailableError(
                "conveyor", f"{self._url} does not answer as Conveyor does"
            )
        return cast("dict[str, Any]", document)


class _Refused(Exception):
    """The service does not take the call as it is."""

    def __init__(self, code: str | None, detail: str) -> None:
        super().__init__(detail)
        self.code = code


class LeasedKeys:
    """The `KeyStore` of requests with leases: each key's record, as far as the service says.

    A worker that lost its lease may be given the next request of the key while it still performs the first one. What it
    finds out itself then counts more than what the service knew.
    """

    def __init__(self) -> None:
        self._records: dict[str, KeyRecord] = {}
        #: key -> its requests that are not finished
        self._requests: Counter[str] = Counter()

    def learn(self, message: Message, request: Mapping[str, Any]) -> None:
        """What the service says of a request."""
        records = _records_of(message, request)
        self._records.update(records)
        self._requests.update(records.keys())

    def forget(self, message: Message) -> None:
        """The request is finished."""
        for key in _keys_of(message):
            self._requests[key] -= 1
            if self._requests[key] <= 0:
                del self._requests[key]
                self._records.pop(key, None)

    async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
        return {key: self._records.get(key, KeyRecord()) for key in claims}

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        """Keep what is certain for the key's other requests. Another worker may have done what this one did not."""
        certain = {key: each for key, each in records.items() if is_final(each)}
        self._records.update({key: certain[key] for key in certain.keys() & self._requests.keys()})
        return frozenset()

    async def close(self) -> None:
        self._records.clear()
        self._requests.clear()


def _keys_of(message: Message) -> tuple[str, ...]:
    key = message.extensions["idempotencykey"]
    if message.type == types.COMPENSATION_REQUESTED:
        return key, key.removesuffix(UNDO_SUFFIX)
    return (key,)


def _records_of(message: Message, request: Mapping[str, Any]) -> dict[str, KeyRecord]:
    key, *step_key = _keys_of(message)
    data = orjson.loads(message.data)
    if message.type == types.SEAL_REQUESTED:
        asked = request.get("asksAbout")
        attempt = 1 if asked is None else int(asked["attempt"])
        about = None if asked is None else orjson.dumps(asked)
        return {key: unknown(KeyRecord(), attempt, about)}
    claimed = int(data["attempt"]) if request.get("recovered") else 0
    # An undo is given out only for what was performed.
    step = performed(1, orjson.dumps(data.get("stepOutput") or {}))
    return {key: KeyRecord(claimed=claimed), **dict.fromkeys(step_key, step)}


def _path(service: str) -> str:
    return f"/api/v1/participants/{quote(service, safe='')}"


def _code(response: httpx.Response) -> str | None:
    try:
        return str(orjson.loads(response.content)["code"])
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return None


def _detail(response: httpx.Response) -> str:
    try:
        document = orjson.loads(response.content)
        return f"{document['code']}: {document['detail']}"
    except (orjson.JSONDecodeError, KeyError, TypeError):
        return f"HTTP {response.status_code}"


def _answer(lease: str, reply: Message) -> bytes:
    """The answer as JSON; without the output where the service would not take it."""
    answer = orjson.dumps({"lease": lease, "event": structured(reply)})
    if len(answer) <= _BODY_BYTES_MAX:
        return answer
    return orjson.dumps({"lease": lease, "event": structured(without_output(reply))})


def _batches(answers: Sequence[bytes]) -> list[list[bytes]]:
    """In bodies that the service takes."""
    batches: list[list[bytes]] = []
    size = 0
    for answer in answers:
        size += len(answer) + 1
        if not batches or size > _BODY_BYTES_MAX or len(batches[-1]) == LEASES_MAX:
            batches.append([])
            size = len(answer) + 1
        batches[-1].append(answer)
    return batches

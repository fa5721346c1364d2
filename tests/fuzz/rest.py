"""Requests to the REST application, which runs in this process in a thread of its own."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Generator
from concurrent.futures import Future
from contextlib import contextmanager
from pathlib import Path
from threading import Thread
from urllib.parse import quote_from_bytes

import httpx

from tests.adapters.rest.service import DEFINITIONS, WORKFLOWS, Service, serving
from tests.fuzz.targets import Target

#: Method, path and media type; the first byte of an input chooses.
ROUTES = (
    ("POST", WORKFLOWS, "application/json"),
    ("POST", DEFINITIONS, "application/json"),
    ("POST", DEFINITIONS, "application/yaml"),
    ("POST", DEFINITIONS, ""),
    ("PUT", f"{WORKFLOWS}/wf-1/cancel", "application/json"),
    ("PUT", f"{WORKFLOWS}/wf-1/compensate", "application/json"),
    # Of these the rest of the input is the query.
    ("GET", WORKFLOWS, ""),
    ("GET", f"{WORKFLOWS}/wf-1/history", ""),
)
_ANSWER_SECONDS = 30.0


Ask = Callable[[Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]], httpx.Response]


@contextmanager
def rest_service(folder: Path) -> Generator[Ask]:
    """A service with an engine and without participants; what is yielded sends one request to it."""
    started: Future[tuple[asyncio.AbstractEventLoop, Service]] = Future()
    stop = asyncio.Event()

    async def serve() -> None:
        try:
            async with serving(folder / "fuzz.db", with_warehouse=False) as service:
                started.set_result((asyncio.get_running_loop(), service))
                await stop.wait()
        except BaseException as fault:
            if not started.done():
                started.set_exception(fault)
            raise

    thread = Thread(target=lambda: asyncio.run(serve()), name="rest", daemon=True)
    thread.start()
    loop, service = started.result(_ANSWER_SECONDS)

    def ask(send: Callable[[httpx.AsyncClient], Awaitable[httpx.Response]]) -> httpx.Response:
        async def sent() -> httpx.Response:
            return await send(service.client)

        return asyncio.run_coroutine_threadsafe(sent(), loop).result(_ANSWER_SECONDS)

    try:
        yield ask
    finally:
        loop.call_soon_threadsafe(stop.set)
        thread.join(_ANSWER_SECONDS)


@contextmanager
def rest_target(folder: Path) -> Generator[Target]:
    """No answer is an error of the service, and every refusal is a problem document."""
    with rest_service(folder) as ask:
        yield lambda data: check_answer(ask(lambda client: answer(client, data)))


async def answer(client: httpx.AsyncClient, data: bytes) -> httpx.Response:
    method, path, media_type = ROUTES[data[0] % len(ROUTES)] if data else ROUTES[0]
    headers = {"content-type": media_type} if media_type else {}
    if method == "GET":
        return await client.get(f"{path}?{quote_from_bytes(data[1:], safe='&=%+')}")
    return await client.request(method, path, content=data[1:], headers=headers)


def check_answer(response: httpx.Response) -> None:
    assert response.status_code < 500, response.text
    if response.status_code >= 400:
        assert response.headers["content-type"] == "application/problem+json"
        problem = response.json()
        assert (problem["status"], bool(problem["code"])) == (response.status_code, True)

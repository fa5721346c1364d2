"""Clients for services and scripts: start workflows, await their results, control them, and follow their events."""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Generator, Mapping
from contextlib import contextmanager
from typing import TYPE_CHECKING, NoReturn, Self

from conveyor.async_client import AsyncClient, AsyncWorkflow
from conveyor.blocking_client import BlockingClient, BlockingWorkflow, EventLoopThread
from conveyor.connection import BEGINNING, Connection

if TYPE_CHECKING:
    from conveyor.http_connection import HttpConnection

__all__ = [
    "BEGINNING",
    "AsyncClient",
    "AsyncWorkflow",
    "BlockingClient",
    "BlockingWorkflow",
    "Client",
]

_LOCAL_URL = "http://127.0.0.1:8080"


class Client:
    """A client of Conveyor over HTTP or, with `Client.over_kafka`, over Kafka.

    `async with Client() as client:` gives an `AsyncClient`. `with Client() as client:` gives a `BlockingClient`, which
    has the same methods for code without asyncio. Open it once, for as long as your program runs: one client serves any
    number of tasks or threads.

    `url` is the address of `conveyor dev` or of the API. Without it, the environment variable `CONVEYOR_URL` counts, or
    else http://127.0.0.1:8080. Without `api_key`, `CONVEYOR_API_KEY` counts. `timeout_seconds` limits each command and
    each read; in this time they are sent again while the service is away. Raises ModuleNotFoundError without the extra
    `http`, and ValueError if `url` is not an address.
    """

    def __init__(
        self, url: str | None = None, *, api_key: str | None = None, timeout_seconds: float = 10.0
    ) -> None:
        address = url or os.environ.get("CONVEYOR_URL") or _LOCAL_URL
        self._set_up(_over_http(address, api_key, timeout_seconds))

    @classmethod
    def over_kafka(
        cls,
        bootstrap_servers: str,
        *,
        source: str,
        topic_prefix: str = "",
        properties: Mapping[str, str] | None = None,
        url: str | None = None,
        api_key: str | None = None,
        timeout_seconds: float = 10.0,
    ) -> Self:
        """A client that sends its commands over Kafka, and reads their outcomes from the events.

        `source` is your service's CloudEvents source, such as `/order-service`; events record it as the actor.
        `topic_prefix` stands before every topic name, `properties` are librdkafka's. With `url`
        (or `CONVEYOR_URL`) the client also reads over HTTP: `get`, `history`, `events` and `list` need it, and `result`
        asks there first. Without it, `result` reads the topic again from the start of the workflow, which takes longer
        the more has happened since. A workflow that does not exist, or whose events are deleted by now, then looks like
        one that has not ended.

        Raises ModuleNotFoundError without the extra `kafka`, or `http` for a `url`, and ValueError for a source that is
        empty or has white space.
        """
        from conveyor.kafka_connection import KafkaConnection  # noqa: PLC0415 - an extra

        if source.split() != [source]:
            raise ValueError(f"source {source!r} is empty or has white space")
        address = url or os.environ.get("CONVEYOR_URL")
        reads = _over_http(address, api_key, timeout_seconds) if address else None

        def connect() -> Connection:
            return KafkaConnection(
                bootstrap_servers,
                source=source,
                topic_prefix=topic_prefix,
                properties=properties or {},
                timeout_seconds=timeout_seconds,
                http=None if reads is None else reads(),
            )

        client = cls.__new__(cls)
        client._set_up(connect)  # noqa: SLF001 - of this class
        return client

    def _set_up(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._opened: tuple[Connection, EventLoopThread | None] | None = None
        self._is_open = threading.Lock()

    async def __aenter__(self) -> AsyncClient:
        with self._entering():
            connection = await _opened(self._connect)
        self._opened = connection, None
        return AsyncClient(connection)

    async def __aexit__(self, *_: object) -> None:
        connection, _thread = self._leave()
        await connection.close()

    def __enter__(self) -> BlockingClient:
        with self._entering():
            thread = EventLoopThread()
            try:
                connection = thread.run(_opened(self._connect))
            except BaseException:
                thread.close()
                raise
        self._opened = connection, thread
        return BlockingClient(thread, AsyncClient(connection))

    def __exit__(self, *_: object) -> None:
        connection, thread = self._leave()
        assert thread is not None
        try:
            thread.run(connection.close())
        finally:
            thread.close()

    @contextmanager
    def _entering(self) -> Generator[None]:
        if not self._is_open.acquire(blocking=False):
            raise RuntimeError("the client is open: share what it gave, or make another one")
        try:
            yield
        except BaseException:
            self._is_open.release()
            raise

    def _leave(self) -> tuple[Connection, EventLoopThread | None]:
        assert self._opened is not None
        opened, self._opened = self._opened, None
        self._is_open.release()
        return opened

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if hasattr(AsyncClient, name):
                raise RuntimeError(
                    f"the client is not open: call client.{name} inside `async with Client(...) as client:`"
                    " or, without asyncio, `with Client(...) as client:`"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


async def _opened(connect: Callable[[], Connection]) -> Connection:
    connection = connect()
    try:
        await connection.open()
    except BaseException:
        await connection.close()
        raise
    return connection


def _over_http(
    url: str, api_key: str | None, timeout_seconds: float
) -> Callable[[], HttpConnection]:
    from conveyor.http_connection import HttpConnection  # noqa: PLC0415 - an extra

    key = api_key or os.environ.get("CONVEYOR_API_KEY")

    def connect() -> HttpConnection:
        return HttpConnection(url, api_key=key, timeout_seconds=timeout_seconds)

    # What is wrong shows when the client is made, not when it is opened.
    connect()
    return connect

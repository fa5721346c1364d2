"""Clients for services and scripts: start workflows, await their results, control them, and follow their events."""

from __future__ import annotations

import os
from collections.abc import Callable, Mapping
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
        self._connect: Callable[[], Connection] = _over_http(address, api_key, timeout_seconds)
        self._open: list[tuple[Connection, EventLoopThread | None]] = []

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
        the more has happened since.

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
        client._connect, client._open = connect, []  # noqa: SLF001 - of this class
        return client

    async def __aenter__(self) -> AsyncClient:
        connection = self._connect()
        await connection.open()
        self._open.append((connection, None))
        return AsyncClient(connection)

    async def __aexit__(self, *_: object) -> None:
        connection, _thread = self._open.pop()
        await connection.close()

    def __enter__(self) -> BlockingClient:
        thread = EventLoopThread()
        try:
            connection = self._connect()
            thread.run(connection.open())
        except BaseException:
            thread.close()
            raise
        self._open.append((connection, thread))
        return BlockingClient(thread, AsyncClient(connection))

    def __exit__(self, *_: object) -> None:
        connection, thread = self._open.pop()
        assert thread is not None
        try:
            thread.run(connection.close())
        finally:
            thread.close()

    if not TYPE_CHECKING:

        def __getattr__(self, name: str) -> NoReturn:
            if hasattr(AsyncClient, name):
                raise RuntimeError(
                    f"the client is not open: call {name} of what `async with Client(...) as client:`"
                    " or, without asyncio, `with Client(...) as client:` gives"
                )
            raise AttributeError(f"{type(self).__name__!r} object has no attribute {name!r}")


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

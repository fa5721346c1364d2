"""A TCP proxy in front of a server, to take the server away, hold what is said, and give it back."""

from __future__ import annotations

import asyncio
import contextlib
from collections.abc import Callable, Coroutine
from typing import Any

_CHUNK = 65536
_ROUNDS = 10


def _nothing(_: bytes) -> None:
    return


class TcpProxy:
    """Forwards to one server while it is open, each way while that way is not held."""

    def __init__(
        self,
        host: str,
        port: int,
        *,
        listens_on: int = 0,
        requested: Callable[[bytes], None] = _nothing,
        replied: Callable[[bytes], None] = _nothing,
    ) -> None:
        """`requested` and `replied` are told of all that comes, held or not."""
        self._target = (host, port)
        self._requested = requested
        self._replied = replied
        self._pipes: set[asyncio.Task[None]] = set()
        self._server: asyncio.Server | None = None
        #: 0 until it listens; the same from then on.
        self.port = listens_on
        #: While one is not set, what goes that way is held.
        self.requests_pass = asyncio.Event()
        self.replies_pass = asyncio.Event()
        self.requests_pass.set()
        self.replies_pass.set()

    async def open(self) -> None:
        """Listen on 127.0.0.1."""
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def close(self) -> None:
        """Refuse new connections and break those that exist."""
        if self._server is not None:
            self._server.close()
            self._server = None
            await _some_rounds()  # what was accepted last has its pipe then
        await self.cut()

    async def cut(self) -> None:
        """Break every connection, with what is held of it; new ones are still accepted."""
        while pipes := list(self._pipes):  # one that was connecting may leave two
            for pipe in pipes:
                pipe.cancel()
            await asyncio.gather(*pipes, return_exceptions=True)
        await _some_rounds()  # and what was closed is gone

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._start(self._connect(reader, writer), writer)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except BaseException as error:
            await _closed(writer)
            if isinstance(error, OSError):
                return
            raise
        up = _forward(reader, server_writer, self.requests_pass, self._requested)
        down = _forward(server_reader, writer, self.replies_pass, self._replied)
        self._start(up, server_writer)
        self._start(down, writer)

    def _start(self, work: Coroutine[Any, Any, None], writer: asyncio.StreamWriter) -> None:
        """In the end the writer is closed, also by work that is cancelled before it begins."""
        pipe = asyncio.ensure_future(work)
        self._pipes.add(pipe)

        def done(_: asyncio.Task[None]) -> None:
            self._pipes.discard(pipe)
            if pipe.cancelled():
                writer.close()

        pipe.add_done_callback(done)


async def _forward(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    passes: asyncio.Event,
    told: Callable[[bytes], None],
) -> None:
    try:
        while data := await reader.read(_CHUNK):
            told(data)
            await passes.wait()
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        await _closed(writer)


async def _some_rounds() -> None:
    """Of the event loop: what is ready has happened."""
    for _ in range(_ROUNDS):
        await asyncio.sleep(0)


async def _closed(writer: asyncio.StreamWriter) -> None:
    writer.close()
    with contextlib.suppress(ConnectionError):
        await writer.wait_closed()

"""The connection between a program and a server, as something that can be cut and held.

The proxy runs in a thread with an event loop of its own, so that tests call it like anything else.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

_ANSWER_SECONDS = 20.0
_CHUNK = 65536


class Wire:
    """Forwards to `address` (`host:port` or a URL) while it is open, both ways while it is not held."""

    def __init__(self, address: str, port: int | None = None) -> None:
        target = urlsplit(address if "://" in address else f"//{address}")
        self._scheme = f"{target.scheme}://" if target.scheme else ""
        self._target = (target.hostname or "", target.port or 0)
        self.port = port or 0
        self._server: asyncio.Server | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._requests_pass = asyncio.Event()
        self._replies_pass = asyncio.Event()
        #: What clients sent and the server does not have, while requests are held.
        self.held = bytearray()
        #: What the server answered since requests were held last.
        self.answered = bytearray()
        self._records = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._requests_pass.set()
        self._replies_pass.set()
        self._do(self._listen())

    @property
    def address(self) -> str:
        """Where clients connect to, in the form in which the server's address was given."""
        return f"{self._scheme}127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection; new ones are accepted."""
        self._do(self._cut())

    def hold_requests(self) -> None:
        """What clients send is kept back from now on."""
        self.held.clear()
        self.answered.clear()
        self._records = True
        self._call(self._requests_pass.clear)

    def release(self) -> None:
        """What was held goes on its way, in order."""
        self._call(self._requests_pass.set)
        self._call(self._replies_pass.set)

    @contextmanager
    def closed(self) -> Generator[None]:
        """Connections are broken and refused."""
        self._do(self._close())
        try:
            yield
        finally:
            self._do(self._listen())

    @contextmanager
    def deaf(self) -> Generator[None]:
        """The server is given requests and its answers are held; then those connections break."""
        self._call(self._replies_pass.clear)
        try:
            yield
        finally:
            self.cut()
            self._call(self._replies_pass.set)

    def stop(self) -> None:
        self.release()
        self._do(self._close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- in the thread ---------------------------------------------------------------------------

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
            self._server = None
        await self._cut()

    async def _cut(self) -> None:
        tasks = list(self._tasks)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            server_reader, server_writer = await asyncio.open_connection(*self._target)
        except OSError:
            writer.close()
            return
        self._keep(self._requests(reader, server_writer))
        self._keep(self._replies(server_reader, writer))

    def _keep(self, work: Coroutine[Any, Any, None]) -> None:
        task = self._loop.create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def _requests(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def note(data: bytes) -> None:
            if not self._requests_pass.is_set():
                self.held.extend(data)

        await _forward(reader, writer, self._requests_pass, note)

    async def _replies(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        def note(data: bytes) -> None:
            if self._records:
                self.answered.extend(data)

        await _forward(reader, writer, self._replies_pass, note)

    # -- from the test's thread ------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)

    def _call(self, what: Callable[[], object]) -> None:
        async def call() -> None:
            what()

        self._do(call())


async def _forward(
    reader: asyncio.StreamReader,
    writer: asyncio.StreamWriter,
    passes: asyncio.Event,
    note: Callable[[bytes], None],
) -> None:
    try:
        while data := await reader.read(_CHUNK):
            note(data)
            await passes.wait()
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()
        with contextlib.suppress(ConnectionError):
            await writer.wait_closed()

"""The connection between a program and a server, as something that can be cut and held.

The proxy runs in a thread with an event loop of its own, so that tests call it like anything else.
"""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Callable, Coroutine, Generator
from contextlib import contextmanager
from typing import Any
from urllib.parse import urlsplit

from tests.tcp_proxy import TcpProxy

_ANSWER_SECONDS = 20.0


class Wire:
    """Forwards to `address` (`host:port` or a URL) while it is open, both ways while it is not held."""

    def __init__(self, address: str, port: int | None = None) -> None:
        target = urlsplit(address if "://" in address else f"//{address}")
        self._scheme = f"{target.scheme}://" if target.scheme else ""
        self._proxy = TcpProxy(
            target.hostname or "",
            target.port or 0,
            listens_on=port or 0,
            requested=self._requested,
            replied=self._replied,
        )
        #: What clients sent and the server does not have, while requests are held.
        self.held = bytearray()
        #: What the server answered since requests were held last.
        self.answered = bytearray()
        self._records = False
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(target=self._loop.run_forever, daemon=True)
        self._thread.start()
        self._do(self._proxy.open())

    @property
    def port(self) -> int:
        return self._proxy.port

    @property
    def address(self) -> str:
        """Where clients connect to, in the form in which the server's address was given."""
        return f"{self._scheme}127.0.0.1:{self.port}"

    def cut(self) -> None:
        """Break every connection; new ones are accepted."""
        self._do(self._proxy.cut())

    def hold_requests(self) -> None:
        """What clients send is kept back from now on."""
        self.held.clear()
        self.answered.clear()
        self._records = True
        self._call(self._proxy.requests_pass.clear)

    def release(self) -> None:
        """What was held goes on its way, in order."""
        self._call(self._proxy.requests_pass.set)
        self._call(self._proxy.replies_pass.set)

    @contextmanager
    def closed(self) -> Generator[None]:
        """Connections are broken and refused."""
        self._do(self._proxy.close())
        try:
            yield
        finally:
            self._do(self._proxy.open())

    @contextmanager
    def deaf(self) -> Generator[None]:
        """The server is given requests and its answers are held; then those connections break."""
        self._call(self._proxy.replies_pass.clear)
        try:
            yield
        finally:
            self.cut()
            self._call(self._proxy.replies_pass.set)

    def stop(self) -> None:
        self.release()
        self._do(self._proxy.close())
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()

    # -- in the thread ---------------------------------------------------------------------------

    def _requested(self, data: bytes) -> None:
        if not self._proxy.requests_pass.is_set():
            self.held.extend(data)

    def _replied(self, data: bytes) -> None:
        if self._records:
            self.answered.extend(data)

    # -- from the test's thread ------------------------------------------------------------------

    def _do(self, work: Coroutine[Any, Any, None]) -> None:
        asyncio.run_coroutine_threadsafe(work, self._loop).result(_ANSWER_SECONDS)

    def _call(self, what: Callable[[], object]) -> None:
        async def call() -> None:
            what()

        self._do(call())

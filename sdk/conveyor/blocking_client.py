"""The client for code without asyncio: every call runs the asynchronous one in a thread, and waits for it.

The methods here are those of `AsyncClient` and `AsyncWorkflow`, with the same arguments, results and errors.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Coroutine, Generator
from typing import Any, TypeVar

from conveyor.async_client import AsyncClient, AsyncWorkflow
from conveyor.facade import Facade, Method, awaited

T = TypeVar("T")

_CANCEL_SECONDS = 5.0


class EventLoopThread:
    """An event loop in a thread, for calls from any other thread."""

    def __init__(self) -> None:
        self._process = os.getpid()
        self._loop = asyncio.new_event_loop()
        self._thread = threading.Thread(
            target=self._loop.run_forever, name="conveyor-client", daemon=True
        )
        self._thread.start()

    def run(self, call: Coroutine[Any, Any, T]) -> T:
        """The result of the call. An interrupt of the waiting thread, as by Ctrl-C, cancels it.

        Raises RuntimeError when the client is closed, or was opened before this process was forked.
        """
        if self._loop.is_closed() or os.getpid() != self._process:
            call.close()
            raise RuntimeError(
                "the client is closed"
                if self._loop.is_closed()
                else "the client was opened before a fork, which threads do not survive: open it in this process"
            )
        left = threading.Event()
        future = asyncio.run_coroutine_threadsafe(_leaving(call, left), self._loop)
        try:
            return future.result()
        except BaseException:
            if future.cancel():
                # What the call has open can be closed only after it.
                left.wait(_CANCEL_SECONDS)
            raise

    def iterate(self, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
        """The items of an asynchronous iterator, which is closed in the end."""
        try:
            while True:
                try:
                    yield self.run(_next(source))
                except StopAsyncIteration:
                    return
        finally:
            self.run(source.aclose())

    def close(self) -> None:
        self._loop.call_soon_threadsafe(self._loop.stop)
        self._thread.join()
        self._loop.close()


async def _leaving(call: Coroutine[Any, Any, T], left: threading.Event) -> T:
    try:
        return await call
    finally:
        left.set()


async def _next(source: AsyncGenerator[T, None]) -> T:
    return await anext(source)


def _iterated(thread: EventLoopThread, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    return thread.iterate(source)


class BlockingWorkflow(Facade[AsyncWorkflow, EventLoopThread]):
    """`AsyncWorkflow` for code without asyncio."""

    @property
    def id(self) -> str:
        return self.asynchronous.id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    result = Method(AsyncWorkflow.result, awaited)
    get = Method(AsyncWorkflow.get, awaited)
    history = Method(AsyncWorkflow.history, awaited)
    events = Method(AsyncWorkflow.events, _iterated)
    signal = Method(AsyncWorkflow.signal, awaited)
    pause = Method(AsyncWorkflow.pause, awaited)
    resume = Method(AsyncWorkflow.resume, awaited)
    cancel = Method(AsyncWorkflow.cancel, awaited)
    compensate = Method(AsyncWorkflow.compensate, awaited)
    force_compensate = Method(AsyncWorkflow.force_compensate, awaited)
    retry = Method(AsyncWorkflow.retry, awaited)
    execute_step = Method(AsyncWorkflow.execute_step, awaited)
    retry_step_now = Method(AsyncWorkflow.retry_step_now, awaited)
    skip_step = Method(AsyncWorkflow.skip_step, awaited)
    complete_step = Method(AsyncWorkflow.complete_step, awaited)
    patch = Method(AsyncWorkflow.patch, awaited)
    reset = Method(AsyncWorkflow.reset, awaited)


def _started(thread: EventLoopThread, call: Coroutine[Any, Any, AsyncWorkflow]) -> BlockingWorkflow:
    return BlockingWorkflow(thread, thread.run(call))


class BlockingClient(Facade[AsyncClient, EventLoopThread]):
    """`AsyncClient` for code without asyncio; `with Client(...)` gives it. Threads may share it."""

    start = Method(AsyncClient.start, _started)
    workflow = Method(AsyncClient.workflow, BlockingWorkflow)
    list = Method(AsyncClient.list, awaited)
    subscribe = Method(AsyncClient.subscribe, _iterated)

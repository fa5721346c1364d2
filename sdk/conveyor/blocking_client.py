"""The client for code without asyncio: every call runs the asynchronous one in a thread, and waits for it.

The methods here are those of `AsyncClient` and `AsyncWorkflow`, with the same arguments, results and errors.
"""

from __future__ import annotations

import asyncio
import os
import threading
from collections.abc import AsyncGenerator, Callable, Coroutine, Generator
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Self, TypeVar, overload

from conveyor.async_client import AsyncClient, AsyncWorkflow

P = ParamSpec("P")
A = TypeVar("A")
R = TypeVar("R")
S = TypeVar("S")
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


class _Facade(Generic[A]):
    """An asynchronous object, and the thread in which it is used."""

    def __init__(self, thread: EventLoopThread, asynchronous: A) -> None:
        self.thread = thread
        self.asynchronous = asynchronous


class _Method(Generic[A, P, R, S]):
    """A method of a facade: that of its asynchronous object, with the result adapted to a caller that waits."""

    def __init__(
        self,
        method: Callable[Concatenate[A, P], R],
        adapt: Callable[[EventLoopThread, R], S],
    ) -> None:
        self._method = method
        self._adapt = adapt
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, facade: None, owner: type) -> Self: ...

    @overload
    def __get__(self, facade: _Facade[A], owner: type) -> Callable[P, S]: ...

    def __get__(self, facade: _Facade[A] | None, owner: type) -> Self | Callable[P, S]:
        if facade is None:
            return self

        @wraps(self._method)
        def call(*arguments: P.args, **options: P.kwargs) -> S:
            result = self._method(facade.asynchronous, *arguments, **options)
            return self._adapt(facade.thread, result)

        return call


def _awaited(thread: EventLoopThread, call: Coroutine[Any, Any, T]) -> T:
    return thread.run(call)


def _iterated(thread: EventLoopThread, source: AsyncGenerator[T, None]) -> Generator[T, None, None]:
    return thread.iterate(source)


class BlockingWorkflow(_Facade[AsyncWorkflow]):
    """`AsyncWorkflow` for code without asyncio."""

    @property
    def id(self) -> str:
        return self.asynchronous.id

    def __repr__(self) -> str:
        return f"{type(self).__name__}({self.id!r})"

    result = _Method(AsyncWorkflow.result, _awaited)
    get = _Method(AsyncWorkflow.get, _awaited)
    history = _Method(AsyncWorkflow.history, _awaited)
    events = _Method(AsyncWorkflow.events, _iterated)
    signal = _Method(AsyncWorkflow.signal, _awaited)
    pause = _Method(AsyncWorkflow.pause, _awaited)
    resume = _Method(AsyncWorkflow.resume, _awaited)
    cancel = _Method(AsyncWorkflow.cancel, _awaited)
    compensate = _Method(AsyncWorkflow.compensate, _awaited)
    force_compensate = _Method(AsyncWorkflow.force_compensate, _awaited)
    retry = _Method(AsyncWorkflow.retry, _awaited)
    execute_step = _Method(AsyncWorkflow.execute_step, _awaited)


def _started(thread: EventLoopThread, call: Coroutine[Any, Any, AsyncWorkflow]) -> BlockingWorkflow:
    return BlockingWorkflow(thread, thread.run(call))


class BlockingClient(_Facade[AsyncClient]):
    """`AsyncClient` for code without asyncio; `with Client(...)` gives it. Threads may share it."""

    start = _Method(AsyncClient.start, _started)
    workflow = _Method(AsyncClient.workflow, BlockingWorkflow)
    list = _Method(AsyncClient.list, _awaited)
    subscribe = _Method(AsyncClient.subscribe, _iterated)

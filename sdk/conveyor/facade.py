"""Blocking forms of asynchronous objects: the same methods, and each call returns when it is done."""

from __future__ import annotations

from collections.abc import Callable, Coroutine
from functools import wraps
from typing import Any, Concatenate, Generic, ParamSpec, Protocol, Self, TypeVar, overload

A = TypeVar("A")
L = TypeVar("L", bound="Loop")
L_co = TypeVar("L_co", bound="Loop", covariant=True)
P = ParamSpec("P")
R = TypeVar("R")
S = TypeVar("S")
T = TypeVar("T")


class Loop(Protocol):
    """Where the asynchronous object is used: an event loop in a thread, or an `asyncio.Runner`."""

    def run(self, coro: Coroutine[Any, Any, T], /) -> T:
        """What the coroutine returns. Raises what it raises."""
        ...


class Facade(Generic[A, L_co]):
    """An asynchronous object, and the loop on which it is used."""

    def __init__(self, loop: L_co, asynchronous: A) -> None:
        self._loop = loop
        self.asynchronous = asynchronous

    @property
    def loop(self) -> L_co:
        return self._loop


class Method(Generic[A, L, P, R, S]):
    """A method of a facade: that of its asynchronous object, with the result adapted to a caller that waits."""

    def __init__(
        self,
        method: Callable[Concatenate[A, P], R],
        adapt: Callable[[L, R], S],
    ) -> None:
        self._method = method
        self._adapt = adapt
        self.__doc__ = method.__doc__

    @overload
    def __get__(self, facade: None, owner: type) -> Self: ...

    @overload
    def __get__(self, facade: Facade[A, L], owner: type) -> Callable[P, S]: ...

    def __get__(self, facade: Facade[A, L] | None, owner: type) -> Self | Callable[P, S]:
        if facade is None:
            return self

        @wraps(self._method)
        def call(*arguments: P.args, **options: P.kwargs) -> S:
            result = self._method(facade.asynchronous, *arguments, **options)
            return self._adapt(facade.loop, result)

        return call


def awaited(loop: Loop, call: Coroutine[Any, Any, T]) -> T:
    """For methods that are coroutines."""
    return loop.run(call)

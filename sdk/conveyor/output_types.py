"""Which return annotations of a handler can be an output: an object in JSON, or nothing."""

from __future__ import annotations

import inspect
from asyncio import Future
from collections.abc import Awaitable, Callable, Coroutine, Mapping
from dataclasses import is_dataclass
from types import NoneType, UnionType
from typing import Annotated, Any, NewType, TypeVar, Union, cast, get_args, get_origin

from pydantic import BaseModel, RootModel

_AWAITABLES = (Awaitable, Coroutine)


def require_output(function: Callable[..., Any], name: str, hint: Any) -> None:
    """Raises TypeError, with what to return instead, for a handler whose result is never an output.

    `hint` is the return annotation. One that says nothing (`Any`, `object`, a type variable) is taken.
    """
    if inspect.isgeneratorfunction(function) or inspect.isasyncgenfunction(function):
        raise TypeError(f"{name} yields its results; a handler returns one, {_WANTED}")
    if not _may_be_output(hint):
        raise TypeError(
            f"{name} returns {inspect.formatannotation(hint)}, which is not an object in JSON;"
            f" a handler returns {_WANTED}"
        )


_WANTED = "a pydantic model, a dataclass, a dict such as {'result': ...}, a StepResult or None"


def _may_be_output(hint: Any) -> bool:
    if hint is None or hint is Any or isinstance(hint, str):
        return True
    if isinstance(hint, TypeVar):
        return all(map(_may_be_output, hint.__constraints__ or (hint.__bound__,)))
    if isinstance(hint, NewType):
        return _may_be_output(hint.__supertype__)
    if hasattr(hint, "__value__"):
        # What `type X = ...` declares.
        return _may_be_output(hint.__value__)
    origin, arguments = get_origin(hint), get_args(hint)
    if origin is Annotated:
        return _may_be_output(arguments[0])
    if origin in (Union, UnionType):
        return all(_may_be_output(each) for each in arguments)
    if not isinstance(kind := origin or hint, type):
        # NoReturn: nothing is known about its values.
        return origin is None
    return _are_objects(cast("type[Any]", kind), arguments)


def _are_objects(kind: type[Any], arguments: tuple[Any, ...]) -> bool:
    if issubclass(kind, (*_AWAITABLES, Future)):
        return not arguments or _may_be_output(arguments[-1])
    if issubclass(kind, RootModel):
        return _may_be_output(kind.model_fields["root"].annotation)
    if issubclass(kind, Mapping) and arguments and not _may_be_key(arguments[0]):
        return False
    # A TypedDict is a dict.
    return kind in (object, NoneType) or issubclass(kind, BaseModel | Mapping) or is_dataclass(kind)


def _may_be_key(hint: Any) -> bool:
    """Names in JSON are strings; the encoder takes no other keys, not even those of a StrEnum."""
    return hint in (str, Any, object) or not isinstance(hint, type)

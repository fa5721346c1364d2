"""Handlers: typed arguments from a request, and JSON from a result."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping
from dataclasses import asdict, dataclass, is_dataclass
from datetime import datetime
from functools import partial
from math import isfinite
from typing import Any, NamedTuple, cast, get_type_hints

import orjson
from pydantic import BaseModel, ValidationError

from conveyor.errors import StepError
from conveyor.json_text import NESTING_MAX, unstorable_in
from conveyor.output_types import require_output
from conveyor.values import Value, field

#: Codes of a step that was performed and whose output cannot be used.
INVALID_OUTPUT = "INVALID_OUTPUT"
TOO_LARGE = "TOO_LARGE"
#: Of an output and of a snapshot each; a whole reply may have 1 MiB.
MAX_OUTPUT_BYTES = 480 * 1024


class StepContext(Value):
    """The context of a request. A handler receives it through a parameter of this type."""

    #: The id of the workflow.
    workflow_id: str
    #: The id of the step in the definition.
    step_id: str
    #: The same for every attempt of the step. Pass it to the system that has the effect.
    idempotency_key: str
    #: Counts from 1. A retry of the step is the next attempt.
    attempt: int
    #: Counts from 1. A workflow that is retried after it failed runs in the next round, with new idempotency keys.
    round: int
    #: A request is not begun after its deadline; None: no limit.
    deadline: datetime | None
    #: The id that the start gave, which all events of the workflow carry.
    correlation_id: str | None
    #: The grant number of the workflow's business lock, if it holds one.
    fencing_token: int | None
    #: An earlier attempt ended with an unknown outcome: the effect may be there already.
    recovered: bool
    #: The engine's `context` (definition, definitionVersion, tenant, userId, ...).
    context: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: Compensations only: the definition's hint how to undo (`REVERSE_OPERATION`, ...).
    strategy: str | None = None
    #: Compensations only: why the step is undone.
    reason: str | None = None
    #: Compensations only: the step's output, None if it is not known.
    step_output: Mapping[str, Any] | None = None
    #: Compensations only: the snapshot that the step's handler returned in a `StepResult`.
    snapshot: Mapping[str, Any] | None = None


@dataclass(frozen=True, slots=True)
class StepResult:
    """A handler's output together with the snapshot that a RESTORE_STATE compensation needs."""

    #: The step's output, which later steps can read.
    output: BaseModel | Mapping[str, Any] | None
    #: What the compensation needs to restore the former state. Only it can read this.
    snapshot: Mapping[str, Any]


class Encoded(NamedTuple):
    """A result as JSON."""

    output: bytes
    snapshot: bytes | None


class Handler:
    """A handler function, with its signature analysed once at registration."""

    def __init__(self, function: Callable[..., Any]) -> None:
        """Raises TypeError for a signature that does not fit.

        The function takes at most an input and a `StepContext`, and returns an object or nothing.
        """
        self._function = function
        self.is_async = _is_async(function)
        name = getattr(function, "__qualname__", repr(function))
        hints = _hints(function, name)
        require_output(function, name, hints.get("return", Any))
        parameters = list(inspect.signature(function).parameters)
        inputs = [p for p in parameters if hints.get(p) is not StepContext]
        if len(inputs) > 1 or len(parameters) > 2:
            raise TypeError(
                f"{name} takes {parameters}; a handler takes an input and a StepContext"
            )
        self._names_input = bool(inputs)
        self.takes_context = len(parameters) > len(inputs)
        self._context_first = self.takes_context and parameters[0] not in inputs
        hint = hints.get(inputs[0]) if inputs else None
        is_model = isinstance(hint, type) and issubclass(hint, BaseModel)
        self._model: type[BaseModel] | None = hint if is_model else None

    def call(self, data: dict[str, Any], context: StepContext | None) -> Any:
        """The result of the function, perhaps awaitable.

        Raises `StepError` with the type VALIDATION_ERROR when the input does not fit, and
        whatever the function raises. `context` is given if `takes_context`.
        """
        if not self._names_input:
            return self._function(context) if self.takes_context else self._function()
        argument = data if self._model is None else _validated(self._model, data)
        if not self.takes_context:
            return self._function(argument)
        if self._context_first:
            return self._function(context, argument)
        return self._function(argument, context)


def _is_async(function: Callable[..., Any]) -> bool:
    return inspect.iscoroutinefunction(function) or inspect.iscoroutinefunction(
        getattr(function, "__call__", None)  # noqa: B004 - its own, to look at
    )


def _hints(function: Callable[..., Any], name: str) -> dict[str, Any]:
    """The annotations of what is called: of a partial its function, of any other object its `__call__`."""
    if isinstance(function, type):
        raise TypeError(f"{name} is a class; a handler is a function")
    called = function
    while isinstance(called, partial):
        called = cast("Any", called).func
    if not (inspect.isroutine(called) or hasattr(called, "__wrapped__")):
        called = type(called).__call__
    try:
        return get_type_hints(called)
    except (NameError, AttributeError, SyntaxError) as error:
        raise TypeError(
            f"{name}: {error}; annotations of a handler name types of its module"
        ) from None


def _validated(model: type[BaseModel], data: dict[str, Any]) -> BaseModel:
    try:
        return model.model_validate(data)
    except ValidationError as error:
        faults = "; ".join(
            f"{'.'.join(map(str, fault['loc'])) or 'input'}: {fault['msg']}"
            for fault in error.errors(include_url=False, include_input=False)
        )
        # No TerminalError: an older release may have accepted the input in an earlier run.
        raise StepError("INVALID_INPUT", faults, "VALIDATION_ERROR") from None


class UnusableOutput(Exception):
    """A handler's result cannot be an output; `code` and `detail` go into the reply."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail


def encode_result(result: Any) -> Encoded:
    """The JSON of a handler's result. Raises `UnusableOutput`."""
    if isinstance(result, StepResult):
        return Encoded(_encode(result.output), _encode(result.snapshot))
    return Encoded(_encode(result), None)


def _encode(value: Any) -> bytes:
    if value is None:
        return b"{}"
    try:
        data = (
            value.model_dump_json(by_alias=True).encode()
            if isinstance(value, BaseModel)
            else orjson.dumps(value, default=_as_dict)
        )
    except Exception as error:
        # A serializer may be the user's code; whatever it raises, the effect is there.
        raise UnusableOutput(INVALID_OUTPUT, f"{type(error).__name__}: {error}") from error
    if len(data) > MAX_OUTPUT_BYTES:
        raise UnusableOutput(
            TOO_LARGE, f"{len(data)} bytes; an output or snapshot has at most {MAX_OUTPUT_BYTES}"
        )
    if b"null" in data and _has_no_number(value):
        raise UnusableOutput(INVALID_OUTPUT, "NaN and Infinity do not exist in JSON")
    if not data.startswith(b"{"):
        raise UnusableOutput(
            INVALID_OUTPUT, f"a handler returns an object, not {type(value).__name__}"
        )
    if faults := unstorable_in(data, NESTING_MAX - 1):
        detail = "; ".join(f"{fault['path']}: {fault['message']}" for fault in faults[:10])
        raise UnusableOutput(INVALID_OUTPUT, detail)
    return data


def _as_dict(value: Any) -> Any:
    if isinstance(value, Mapping):
        return dict(cast("Mapping[object, Any]", value))
    if isinstance(value, BaseModel):
        return value.model_dump(mode="json", by_alias=True)
    raise TypeError(f"{type(value).__name__} is not a JSON value")


def _has_no_number(value: Any) -> bool:
    """Whether a float in it is NaN or infinite; serializers write null for those."""
    if isinstance(value, float):
        return not isfinite(value)
    if isinstance(value, BaseModel):
        return _has_no_number(value.model_dump())
    if is_dataclass(value) and not isinstance(value, type):
        return _has_no_number(asdict(value))
    if isinstance(value, Mapping):
        return any(map(_has_no_number, cast("Mapping[object, Any]", value).values()))
    return isinstance(value, list | tuple) and any(map(_has_no_number, cast("list[Any]", value)))

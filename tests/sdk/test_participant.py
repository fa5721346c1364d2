"""Declaring handlers: signatures, typed input and output, and what is refused at registration."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable, Coroutine, Mapping
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from functools import partial
from math import inf, nan
from types import MappingProxyType
from typing import Annotated, Any, Literal, NamedTuple, NewType, NoReturn, TypedDict, TypeVar

import pytest
from conveyor.errors import StepError
from conveyor.handlers import (
    MAX_OUTPUT_BYTES,
    Handler,
    StepContext,
    StepResult,
    UnusableOutput,
    encode_result,
)
from conveyor.participant import Participant
from conveyor.requests import read_request
from conveyor.transport import Taken
from conveyor.values import replace
from pydantic import BaseModel, ConfigDict, RootModel, field_serializer
from pydantic.alias_generators import to_camel
from typing_extensions import TypeAliasType

from tests.sdk.requests_of import step_request, undo_request


class Reserve(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel)
    order_id: str
    quantity: int


class Reserved(BaseModel):
    model_config = ConfigDict(alias_generator=to_camel, populate_by_name=True)
    reservation_id: str


CONTEXT = StepContext(
    workflow_id="wf-1",
    step_id="reserve-inventory",
    idempotency_key="wf-1/reserve-inventory/1",
    attempt=1,
    round=1,
    deadline=None,
    correlation_id=None,
    fencing_token=None,
    recovered=False,
)
DATA: dict[str, Any] = {"orderId": "o-1", "quantity": 3}


def typed(reserve: Reserve) -> Reserved:
    return Reserved(reservation_id=f"{reserve.order_id}:{reserve.quantity}")


def with_context(reserve: Reserve, context: StepContext) -> dict[str, Any]:
    return {"order": reserve.order_id, "attempt": context.attempt}


def context_first(context: StepContext, reserve: Reserve) -> dict[str, Any]:
    return {"order": reserve.order_id, "attempt": context.attempt}


def only_context(context: StepContext) -> dict[str, str]:
    return {"step": context.step_id}


def untyped(data: dict[str, Any]) -> Any:
    return data["quantity"]


def nothing() -> None:
    return None


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (typed, Reserved(reservation_id="o-1:3")),
        (with_context, {"order": "o-1", "attempt": 1}),
        (context_first, {"order": "o-1", "attempt": 1}),
        (only_context, {"step": "reserve-inventory"}),
        (untyped, 3),
        (nothing, None),
    ],
)
def test_signatures(function: Any, result: Any) -> None:
    """A handler gets its input as the type it asks for, and the context if it asks for it."""
    handler = Handler(function)

    assert handler.call(DATA, CONTEXT if handler.takes_context else None) == result


def too_many(a: Reserve, b: Reserve) -> None: ...


def unresolvable(a: Missing) -> None: ...  # noqa: F821  # pyright: ignore[reportUndefinedVariable]


def no_expression(a: Any) -> None: ...


def no_attribute(a: Any) -> None: ...


no_expression.__annotations__["a"] = "list["
no_attribute.__annotations__["a"] = "datetime.Missing"


@pytest.mark.parametrize("function", [too_many, unresolvable, no_expression, no_attribute, Reserve])
def test_refuses_other_signatures(function: Any) -> None:
    """A signature that cannot be served is refused at registration, by name."""
    with pytest.raises(TypeError, match=function.__name__):
        Handler(function)


def test_invalid_input_names_every_fault() -> None:
    """Input that does not fit the model is a final VALIDATION_ERROR that names the fields."""
    with pytest.raises(StepError) as refused:
        Handler(typed).call({"quantity": "many"}, None)

    assert (refused.value.code, refused.value.type) == ("INVALID_INPUT", "VALIDATION_ERROR")
    assert "orderId" in refused.value.message
    assert "quantity" in refused.value.message


@pytest.mark.parametrize(
    ("result", "output", "snapshot"),
    [
        (Reserved(reservation_id="r"), b'{"reservationId":"r"}', None),
        ({"a": 1}, b'{"a":1}', None),
        (None, b"{}", None),
        (StepResult({"a": 1}, {"before": 2}), b'{"a":1}', b'{"before":2}'),
    ],
)
def test_results(result: Any, output: bytes, snapshot: bytes | None) -> None:
    """Models, dicts and None become the output, a StepResult carries a snapshot as well."""
    assert encode_result(result) == (output, snapshot)


def nested(depth: int) -> dict[str, Any]:
    value: dict[str, Any] = {}
    for _ in range(depth - 1):
        value = {"a": value}
    return value


class Custom(BaseModel):
    text: str

    @field_serializer("text")
    def refuse(self, _: str) -> str:
        raise RuntimeError("no")


class Measured(BaseModel):
    value: float


@pytest.mark.parametrize(
    ("result", "code"),
    [
        ("text", "INVALID_OUTPUT"),
        (7, "INVALID_OUTPUT"),
        ([1], "INVALID_OUTPUT"),
        (RootModel[list[int]]([1]), "INVALID_OUTPUT"),
        ({"a": object()}, "INVALID_OUTPUT"),
        ({1: 2}, "INVALID_OUTPUT"),
        ({"a": "\ud800"}, "INVALID_OUTPUT"),
        ({"a": 10**29}, "INVALID_OUTPUT"),
        (RootModel[dict[str, int]]({"a": 10**29}), "INVALID_OUTPUT"),
        ({"a": [inf]}, "INVALID_OUTPUT"),
        (Measured(value=nan), "INVALID_OUTPUT"),
        (nested(64), "INVALID_OUTPUT"),
        (Custom(text="x"), "INVALID_OUTPUT"),
        (StepResult({}, {"a": object()}), "INVALID_OUTPUT"),
        ({"a": "x" * MAX_OUTPUT_BYTES}, "TOO_LARGE"),
    ],
)
def test_an_unusable_result(result: Any, code: str) -> None:
    """What the engine would not store is found by the participant, with a code."""
    with pytest.raises(UnusableOutput) as refused:
        encode_result(result)

    assert refused.value.code == code


@pytest.mark.parametrize(
    "result", [{"a": None}, nested(63), MappingProxyType({"a": 1}), {"a": Measured(value=1.0)}]
)
def test_a_usable_result(result: Any) -> None:
    """Mappings and models are objects wherever they stand."""
    assert encode_result(result).output.startswith(b"{")


class Row(NamedTuple):
    a: int


class Document(TypedDict):
    a: int


@dataclass
class Point:
    x: int


class Color(StrEnum):
    RED = "red"


T = TypeVar("T")
Bound = TypeVar("Bound", bound=str)
OneOf = TypeVar("OneOf", Reserved, str)
OrderNumber = NewType("OrderNumber", str)
Receipt = TypeAliasType("Receipt", str)
Stock = TypeAliasType("Stock", dict[str, int])


@pytest.mark.parametrize(
    "hint",
    [
        *(Any, None, object, T, Reserved, Document, Point, StepResult, NoReturn),
        *(dict, dict[str, int], Mapping[str, Any], Reserved | None, Annotated[Reserved, "x"]),
        *(Awaitable[Reserved], Coroutine[Any, Any, dict[str, Any]], asyncio.Future[None]),
        *(RootModel[dict[str, int]], Awaitable, Stock, dict[Any, Any], dict[object, int]),
    ],
)
def test_annotations_of_outputs(hint: Any) -> None:
    """A handler may be annotated with whatever can be an object or nothing."""

    def handler() -> None: ...

    handler.__annotations__["return"] = hint

    assert Handler(handler).takes_context is False


@pytest.mark.parametrize(
    "hint",
    [
        *(str, int, bool, bytes, list, list[Reserved], tuple[int, ...], set[str], Row, datetime),
        *(Reserved | str, Awaitable[str], Coroutine[Any, Any, int], asyncio.Task[str]),
        *(OrderNumber, RootModel[list[int]], AsyncIterator[Reserved], type[Reserved]),
        *(Receipt, Bound, OneOf, Literal["sent"], Color, dict[int, str], Mapping[Color, str]),
    ],
)
def test_refuses_annotations_that_cannot_be_an_output(hint: Any) -> None:
    """The effect would be there and its output unusable, so it is refused before anything runs."""

    def mail() -> None: ...

    mail.__annotations__["return"] = hint

    with pytest.raises(TypeError, match=r"mail returns .*; a handler returns a pydantic model"):
        Handler(mail)


class Mailer:
    """A handler with a state of its own."""

    def __call__(self, data: dict[str, Any]) -> str:
        return "sent"

    async def mail(self, data: dict[str, Any]) -> str:
        return "sent"


@pytest.mark.parametrize(
    "handler", [Mailer(), Mailer().mail, partial(Mailer.mail, Mailer()), partial(Mailer())]
)
def test_refuses_them_on_whatever_can_be_called(handler: Any) -> None:
    """An object or a partial is as good a handler as a function, with the same annotations."""
    with pytest.raises(TypeError, match="returns str, which is not an object in JSON"):
        Handler(handler)


async def yielding() -> AsyncIterator[dict[str, int]]:
    yield {}


def test_refuses_a_handler_that_yields() -> None:
    """A generator is not a result."""
    with pytest.raises(TypeError, match="yielding yields its results"):
        Handler(yielding)


def test_registration() -> None:
    """Steps and compensations are found by service and operation; a step stays a plain function."""
    participant = Participant("inventory")
    step = participant.step("inventory-service", "reserve")(typed)
    step.compensation("release")(nothing)
    participant.compensation("billing-service", "refund")(only_context)

    assert step(Reserve(orderId="o", quantity=1)) == Reserved(reservation_id="o:1")  # pyright: ignore[reportCallIssue]
    assert participant.services == ("billing-service", "inventory-service")
    assert participant.compensations["inventory-service", "release"].tied
    assert not participant.compensations["billing-service", "refund"].tied


def test_one_handler_per_operation() -> None:
    """A second handler for an operation is refused."""
    participant = Participant("inventory")
    participant.step("inventory-service", "reserve")(typed)

    with pytest.raises(ValueError, match=r"inventory-service\.reserve"):
        participant.step("inventory-service", "reserve")(untyped)


@pytest.mark.parametrize(("effect_is_record", "claim"), [(False, 3), (True, 0)])
def test_claims(effect_is_record: bool, claim: int) -> None:
    """A handler that only answers needs no claim before it; any other one does, its undo as well."""
    participant = Participant("inventory")
    step = participant.step("inventory-service", "reserve", effect_is_record=effect_is_record)(
        typed
    )
    step.compensation("release", effect_is_record=effect_is_record)(nothing)

    forward = read_request(Taken(step_request(attempt=3), 0, 0), participant)
    undo = read_request(Taken(undo_request(attempt=3), 0, 1), participant)

    assert forward.claims == {forward.key: claim}
    assert undo.claims == {undo.key: claim, forward.key: 0}


def test_a_check_is_recorded_by_attempt() -> None:
    """The verification of an undo looks anew at each attempt, instead of repeating its first answer."""
    participant = Participant("inventory")
    participant.step("inventory-service", "reserve")(typed)
    asked = step_request(attempt=2)
    extensions = {**asked.extensions, "idempotencykey": "wf-1/reserve-inventory/1/verify"}

    request = read_request(Taken(replace(asked, extensions=extensions), 0, 0), participant)

    assert request.key == "wf-1/reserve-inventory/1/verify/2"


def test_one_function_performs_several_operations() -> None:
    """Decorators may be stacked, as those of compensations may."""
    participant = Participant("inventory")
    participant.step("inventory-service", "reserve")(
        participant.step("inventory-service", "hold")(typed)
    )

    assert set(participant.steps) == {
        ("inventory-service", "reserve"),
        ("inventory-service", "hold"),
    }


def test_a_decorator_without_its_brackets() -> None:
    """It would register nothing."""
    participant: Any = Participant("inventory")
    step = participant.step("inventory-service", "reserve")(typed)

    with pytest.raises(TypeError, match=r'@<step>\.compensation\("operation"\)'):
        step.compensation(nothing)
    with pytest.raises(TypeError, match=r'@inventory\.compensation\("service", "operation"\)'):
        participant.compensation("inventory-service", nothing)
    with pytest.raises(TypeError, match=r'@inventory\.step\("service", "operation"\)'):
        participant.step(typed, "reserve")

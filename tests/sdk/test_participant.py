"""Declaring handlers: signatures, typed input and output, and what is refused at registration."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest
from conveyor.errors import TerminalError, UnknownOutcomeError
from conveyor.handlers import MAX_OUTPUT_BYTES, Handler, StepContext, StepResult, encode_result
from conveyor.participant import Participant
from conveyor.requests import read_request
from conveyor.transport import Taken
from pydantic import BaseModel, ConfigDict, RootModel
from pydantic.alias_generators import to_camel

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


def with_context(reserve: Reserve, context: StepContext) -> str:
    return f"{reserve.order_id} {context.attempt}"


def context_first(context: StepContext, reserve: Reserve) -> str:
    return f"{reserve.order_id} {context.attempt}"


def only_context(context: StepContext) -> str:
    return context.step_id


def untyped(data: dict[str, Any]) -> int:
    return data["quantity"]


def nothing() -> None:
    return None


@pytest.mark.parametrize(
    ("function", "result"),
    [
        (typed, Reserved(reservation_id="o-1:3")),
        (with_context, "o-1 1"),
        (context_first, "o-1 1"),
        (only_context, "reserve-inventory"),
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


@pytest.mark.parametrize("function", [too_many, unresolvable])
def test_refuses_other_signatures(function: Any) -> None:
    """A signature that cannot be served is refused at registration, by name."""
    with pytest.raises(TypeError, match=function.__name__):
        Handler(function)


def test_invalid_input_names_every_fault() -> None:
    """Input that does not fit the model is a final VALIDATION_ERROR that names the fields."""
    with pytest.raises(TerminalError) as refused:
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


@pytest.mark.parametrize(
    "result",
    ["text", 7, [1], RootModel[list[int]]([1]), {"a": object()}, {"a": "x" * MAX_OUTPUT_BYTES}],
)
def test_an_unusable_result_promises_nothing(result: Any) -> None:
    """The handler has done its work, so an output that cannot be kept is no plain failure."""
    with pytest.raises(UnknownOutcomeError):
        encode_result(result)


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

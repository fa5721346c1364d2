"""Expressions read `steps.<id>.status`: of steps that came before, whether they were done or skipped."""

from __future__ import annotations

import pytest

from application.definitions import InvalidDefinition, compile_definition
from application.ports import Document
from domain.workflow.events import StepScheduled
from tests.documents import UNDO, document, step
from tests.domain.sagas import Saga


def saga_of(*steps: Document, **fields: object) -> Saga:
    return Saga(compile_definition(document(*steps, **fields)))


@pytest.mark.parametrize(("gift", "asked"), [(True, ["thank"]), (False, ["remind"])])
def test_a_condition_tells_a_step_that_was_skipped(gift: bool, asked: list[str]) -> None:
    saga = saga_of(
        step("buy"),
        step("wrap", when="input.gift"),
        step("thank", when="steps.wrap.status == 'COMPLETED'"),
        step("remind", when="steps.wrap.status == 'SKIPPED'"),
    )
    saga.starts({"gift": gift}).succeeds("buy")
    if gift:
        saga.succeeds("wrap")

    assert saga.requests == asked


def test_inputs_and_the_output_read_it() -> None:
    saga = saga_of(
        step("buy"),
        step("wrap", when="input.gift"),
        step("ship", input={"wrapped": "steps.wrap.status"}),
        output={"buy": "steps.buy.status", "wrap": "steps.wrap.status"},
    )
    saga.starts({"gift": False}).succeeds("buy")

    assert saga.the(StepScheduled).request.input == {"wrapped": "SKIPPED"}
    assert saga.succeeds("ship").instance.output == {"buy": "COMPLETED", "wrap": "SKIPPED"}


def test_an_undo_reads_it() -> None:
    """Of its own step as well, which is done until its undo is asked for."""
    of_both = {**UNDO, "input": {"buy": "steps.buy.status", "ship": "steps.ship.status"}}
    saga = saga_of(step("buy"), step("ship", compensation=of_both), step("bill"))
    saga.starts().succeed("buy", "ship").fails("bill")

    assert saga.expect_requests("undo ship").the(StepScheduled).request.input == {
        "buy": "COMPLETED",
        "ship": "COMPLETED",
    }


def test_registration_refuses_what_a_step_does_not_have() -> None:
    with pytest.raises(InvalidDefinition, match="a step has output and status, not 'error'"):
        saga_of(step("buy"), step("ship", when="steps.buy.error"))

"""What undoes a step: four strategies, one request each."""

from __future__ import annotations

import pytest

from domain.definition.compensation import CompensationAction, CompensationStrategy
from domain.definition.expression import Template
from domain.workflow.events import StepCompensated, StepCompensationFailed, StepScheduled
from tests.domain.definitions import Broken, Path, chain, step, undo_of, workflow
from tests.domain.sagas import Saga

FACTORIES = {
    CompensationStrategy.REVERSE_OPERATION: CompensationAction.reverse_operation,
    CompensationStrategy.DELETE_CREATED: CompensationAction.delete_created,
    CompensationStrategy.RESTORE_STATE: CompensationAction.restore_state,
    CompensationStrategy.CUSTOM: CompensationAction.custom,
}


@pytest.mark.parametrize("strategy", CompensationStrategy)
def test_each_strategy_makes_its_own_request(strategy: CompensationStrategy) -> None:
    """The participant gets operation, parameters, strategy, output and snapshot of the step."""
    undo = FACTORIES[strategy](
        "inventory-service", "releaseInventory", {"reservationId": "res-12345"}
    )
    definition = workflow(step("reserve", compensation=undo), step("charge", "reserve"))

    saga = Saga(definition).starts().succeeds("reserve", {"id": 1}, snapshot={"stock": 9})
    saga.fails("charge")

    asked = saga.the(StepScheduled)
    assert (asked.service_name, asked.operation) == ("inventory-service", "releaseInventory")
    assert asked.idempotency_key == "wf-1/reserve/1/undo"
    request = asked.request
    assert request.input == {"reservationId": "res-12345"}
    assert (request.strategy, request.step_output) == (strategy.value, {"id": 1})
    assert (request.snapshot, request.reason) == ({"stock": 9}, "charge is not possible")


@pytest.mark.parametrize(("service", "operation"), [("", "release"), ("inventory-service", "")])
def test_an_undo_names_service_and_operation(service: str, operation: str) -> None:
    """An undo that nobody could perform is refused when it is made."""
    with pytest.raises(ValueError, match="names the service and the operation"):
        CompensationAction.reverse_operation(service, operation, {})


def test_an_undo_takes_the_output_of_its_step() -> None:
    """An undo's input may be made from what its step answered."""
    undo = undo_of("reserve", template=Template({"id": Path("steps.reserve.output.id")}))
    definition = workflow(step("reserve", compensation=undo), step("charge", "reserve"))

    saga = Saga(definition).starts().succeeds("reserve", {"id": "res-1"}).fails("charge")

    assert saga.the(StepScheduled).request.input == {"id": "res-1"}


def test_an_undo_does_not_stop_at_its_mapping() -> None:
    """An undo whose input cannot be made is sent all the same, with the step's output."""
    undo = undo_of("reserve", template=Template({"id": Broken()}))
    definition = workflow(step("reserve", compensation=undo), step("charge", "reserve"))

    saga = Saga(definition).starts().succeeds("reserve", {"id": "res-1"}).fails("charge")

    saga.expect_requests("undo reserve")
    assert saga.the(StepScheduled).request.input == {}
    assert saga.the(StepScheduled).request.step_output == {"id": "res-1"}


def test_an_undo_is_kept_as_a_saga_compensation() -> None:
    """The history knows each undo as SAGA_COMPENSATION, with who did it and how long it took."""
    saga = Saga(chain("reserve", "charge")).starts().succeed("reserve").fails("charge")

    saga.undone("reserve", execution_time_ms=9)

    done = saga.the(StepCompensated)
    assert done.KIND == "SAGA_COMPENSATION"
    assert (done.step_id, done.operation) == ("reserve", "undo-reserve")
    assert (done.attempt, done.execution_time_ms, done.forced) == (1, 9, False)


def test_another_service_may_undo_a_step() -> None:
    """Who undid it, or could not, is the service that was asked, not the one that did the step."""
    undo = CompensationAction.custom("refund-service", "refund", {})
    definition = workflow(step("charge", compensation=undo), step("pick", "charge"))
    saga = Saga(definition).starts().succeeds("charge").fails("pick")

    saga.undo_fails("charge", "SERVICE_UNAVAILABLE").undone("charge")

    for event in (saga.the(StepCompensationFailed), saga.the(StepCompensated)):
        assert event.actor == event.service_name == "refund-service"

"""The definitions that come with Conveyor."""

from __future__ import annotations

from application.definitions import compile_definition, shipped_definitions
from application.ports import Document
from domain.definition.definition import OnCancel, OnFailure, StepKind


def test_order_fulfillment() -> None:
    """The shipped definition is the chain of five of the contract."""
    (order,) = map(compile_definition, shipped_definitions())

    assert (order.id, order.type, order.title) == (
        "order-fulfillment-v1",
        "ORDER_FULFILLMENT",
        "Order Fulfillment",
    )
    assert (order.on_failure, order.on_cancel) == (OnFailure.COMPENSATE, OnCancel.COMPENSATE)
    assert order.type.supports_waveless
    undos = [
        (s.compensation.service_name, s.compensation.operation)
        for s in order.steps
        if s.compensation
    ]
    assert [(s.id, s.service, s.operation) for s in order.steps] == [
        ("reserve-inventory", "inventory-service", "reserve"),
        ("charge-payment", "payment-service", "charge"),
        ("assign-robot", "robotics-service", "assign"),
        ("pick-items", "warehouse-service", "pick"),
        ("pack-items", "packing-service", "pack"),
    ]
    assert undos == [
        ("inventory-service", "release"),
        ("payment-service", "refund"),
        ("robotics-service", "unassign"),
        ("warehouse-service", "return-items"),
        ("packing-service", "unpack"),
    ]
    assert [s.depends_on for s in order.steps] == [(), *((s.id,) for s in order.steps[:-1])]
    assert {s.kind for s in order.steps} == {StepKind.COMPENSATABLE}


def test_order_fulfillment_hands_on_what_steps_need() -> None:
    """Every step gets `simulate`, and outputs reach the steps and undos that name them."""
    (order,) = map(compile_definition, shipped_definitions())
    seen: Document = {
        "input": {"orderId": "1", "lines": [{"sku": "a", "quantity": 2}], "simulate": {"times": 1}},
        "steps": {
            "reserve-inventory": {"output": {"reservationId": "res-1"}},
            "pick-items": {"output": {"pickId": "pick-1"}},
        },
    }

    assert all(s.input.render(seen)["simulate"] == {"times": 1} for s in order.steps)
    assert order.step("pack-items").input.render(seen)["pickId"] == "pick-1"
    release = order.compensation_of("reserve-inventory")
    assert release is not None
    assert release.input.render(seen) == {"orderId": "1", "reservationId": "res-1"}

"""Finding one's way in a definition, and the values that messages are placed by."""

from __future__ import annotations

import pytest

from domain.aggregate.position import Position, TopicPartition
from domain.definition.definition import StepKind, WorkflowDefinition
from domain.definition.expression import Template
from domain.definition.registration import consistency_faults
from tests.domain.definitions import Broken, Path, chain, diamond, step, undo_of, workflow


def test_navigation() -> None:
    """A definition knows its first step, the one after each, and its last."""
    definition = chain("reserve", "charge", "pick")
    following = [definition.next_step(name) for name in ("reserve", "charge", "pick")]

    assert definition.first_step.id == "reserve"
    assert [step and step.id for step in following] == ["charge", "pick", None]
    assert definition.is_last_step("pick")
    assert not definition.is_last_step("charge")
    assert definition.execution_order == {"reserve": 1, "charge": 2, "pick": 3}


def test_steps_by_id() -> None:
    """A step is found by its id, an unknown one is an error."""
    definition = chain("reserve", "charge")

    assert definition.id == "order-v1"
    assert definition.has_step("charge")
    assert not definition.has_step("bogus")
    with pytest.raises(KeyError):
        definition.step("bogus")


def test_dependents_reach_through_the_graph() -> None:
    """Everything that depends on a step counts, directly or through others."""
    assert diamond().dependents == {
        "reserve": {"pick", "charge", "ship"},
        "pick": {"ship"},
        "charge": {"ship"},
        "ship": set(),
    }


def test_a_dependency_outside_the_definition_has_no_dependents() -> None:
    """A dependency that is no step is left to the registration's faults."""
    assert workflow(step("pick", "bogus")).dependents == {"pick": set()}


@pytest.mark.parametrize(
    ("definition", "faults"),
    [
        (chain("reserve", "charge"), ()),
        (workflow(step("look", kind=StepKind.READ_ONLY)), ()),
        (workflow(step("reserve"), step("charge", "reserve", compensation=None)), ("charge",)),
    ],
)
def test_consistency(definition: WorkflowDefinition, faults: tuple[str, ...]) -> None:
    """A step that changes something and has no undo is named; a read-only one needs none."""
    assert consistency_faults(definition) == faults


def test_compensations_by_step() -> None:
    """A definition maps each step to its undo."""
    undo = undo_of("reserve")

    assert workflow(step("reserve", compensation=undo)).compensation_of("reserve") is undo


def test_a_template_renders_its_leaves() -> None:
    """Expressions are evaluated wherever they stand; everything else stays as it is."""
    order, broken = Path("input.orderId"), Broken()
    template = Template({"order": order, "lines": [{"sku": Path("input.sku")}, 7], "note": None})

    rendered = template.render({"input": {"orderId": "ORD-1", "sku": "A"}})

    assert rendered == {"order": "ORD-1", "lines": [{"sku": "A"}, 7], "note": None}
    assert template.placed_expressions("a.input") == (
        ("a.input.order", order),
        ("a.input.lines[0].sku", Path("input.sku")),
    )
    assert Template([broken, 1]).placed_expressions("output") == (("output[0]", broken),)


def test_positions_compare_within_a_lane() -> None:
    """Within a topic's partition the leader epoch decides before the offset."""
    before = Position(topic_id="t1", topic="commands", partition=3, leader_epoch=4, offset=10)
    after_cut = Position(topic_id="t1", topic="commands", partition=3, leader_epoch=5, offset=2)

    assert before.lane == after_cut.lane == ("t1", 3)
    assert before.order < after_cut.order
    assert TopicPartition("commands", 3) == ("commands", 3)

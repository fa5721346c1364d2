"""What the proof at registration accepts is safe, and it refuses nothing that is."""

from __future__ import annotations

from itertools import combinations

from hypothesis import given
from hypothesis import strategies as st

from application.definitions import InvalidDefinition, compile_definition
from application.ports import Document
from domain.definition.definition import StepKind
from domain.definition.faults import Fault, Rule
from domain.definition.registration import registration_faults
from tests.documents import UNDO, document, step


@st.composite
def graphs(draw: st.DrawFn) -> Document:
    """Any graph without a cycle of up to six steps of any kind, written in any order."""
    steps: list[Document] = []
    for number in range(draw(st.integers(1, 6))):
        earlier = [f"s{n}" for n in range(number)]
        kind = draw(st.sampled_from(["compensatable", "pivot", "retriable", "read-only"]))
        may_have_undo = kind == "retriable" and draw(st.booleans())
        steps.append(
            step(
                f"s{number}",
                kind=kind,
                dependsOn=draw(st.lists(st.sampled_from(earlier), unique=True)) if earlier else [],
                compensation=UNDO if kind == "compensatable" or may_have_undo else None,
                when="input.wanted" if draw(st.booleans()) else None,
            )
        )
    return document(*draw(st.permutations(steps)))


def can_strand(graph: Document) -> bool:
    """Whether some set of steps can be done from which there is neither a way back nor forward."""
    steps = {s["id"]: s for s in graph["steps"]}
    skippable = [i for i, s in steps.items() if "when" in s]
    for done in subsets(list(steps)):
        if any(d not in done for i in done for d in steps[i]["dependsOn"]):
            continue
        for skipped in subsets([i for i in skippable if i in done]):
            performed = [steps[i] for i in done if i not in skipped]
            if any(s["kind"] == "pivot" for s in performed):
                left = (s for i, s in steps.items() if i not in done)
                if any(s["kind"] not in ("retriable", "read-only") for s in left):
                    return True
            elif any("compensation" not in s and s["kind"] != "read-only" for s in performed):
                return True
    return False


def subsets(items: list[str]) -> list[tuple[str, ...]]:
    return [found for size in range(len(items) + 1) for found in combinations(items, size)]


def proof(graph: Document) -> tuple[Fault, ...]:
    try:
        return registration_faults(compile_definition(graph))
    except InvalidDefinition as refused:
        return refused.faults


@given(graphs())
def test_exactly_the_safe_graphs_are_accepted(graph: Document) -> None:
    """Accepted: in every reachable state all can be undone, or all that is left can succeed."""
    assert bool(proof(graph)) == can_strand(graph)


@given(graphs().filter(lambda graph: not proof(graph)))
def test_what_is_accepted_can_be_undone_or_is_behind_the_pivot(graph: Document) -> None:
    """Steps come in a topological order, each undoable, harmless, or protected by the pivot."""
    definition = compile_definition(graph)

    placed: set[str] = set()
    for each in definition.steps:
        behind = any(each.id in definition.dependents[p] for p in definition.pivots)
        harmless = each.kind is StepKind.READ_ONLY or each.id in definition.pivots
        assert each.compensation is not None or behind or harmless
        assert placed.issuperset(each.depends_on)
        placed.add(each.id)


@given(graphs())
def test_a_graph_without_a_cycle_is_not_refused_for_its_order(graph: Document) -> None:
    """However it is written, it is sorted."""
    rules = {fault.rule for fault in proof(graph)}

    assert rules.isdisjoint({Rule.STEP_ORDER, Rule.CYCLE})

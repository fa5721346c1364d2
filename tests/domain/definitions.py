"""Definitions for the tests of the domain, built directly from its own classes."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass
from typing import Any

from domain.definition.compensation import CompensationAction, CompensationStrategy, Verification
from domain.definition.definition import StepDefinition, StepKind, WorkflowDefinition, WorkflowType
from domain.definition.expression import ExpressionError, Template


@dataclass(frozen=True)
class Path:
    """An expression that reads one dotted path, as `steps.reserve.output.id`; else None."""

    source: str

    @property
    def references(self) -> frozenset[tuple[str, ...]]:
        return frozenset({tuple(self.source.split("."))})

    @property
    def is_path(self) -> bool:
        return True

    def evaluate(self, document: Mapping[str, Any]) -> Any:
        value: Any = document
        for name in self.source.split("."):
            value = value.get(name) if isinstance(value, Mapping) else None
        return value


@dataclass(frozen=True)
class Broken:
    """An expression that compiles and can never be evaluated."""

    source: str = "broken"

    @property
    def references(self) -> frozenset[tuple[str, ...]]:
        return frozenset()

    @property
    def is_path(self) -> bool:
        return False

    def evaluate(self, document: Mapping[str, Any]) -> Any:
        raise ExpressionError(f"{self.source}: no number")


def undo_of(
    step_id: str,
    *,
    strategy: CompensationStrategy = CompensationStrategy.REVERSE_OPERATION,
    template: Template | None = None,
    verify: bool = False,
) -> CompensationAction:
    """The undo that `step` gives a compensatable step."""
    check = Verification(operation=f"check-{step_id}", input=Template.literal({}))
    return CompensationAction(
        strategy=strategy,
        service_name=f"{step_id}-service",
        operation=f"undo-{step_id}",
        input=template or Template.literal({}),
        verify=check if verify else None,
    )


def step(step_id: str, *after: str, **facts: Any) -> StepDefinition:
    """A step that depends on the others; compensatable with an undo unless said otherwise."""
    kind = facts.get("kind", StepKind.COMPENSATABLE)
    if kind is StepKind.COMPENSATABLE:
        facts.setdefault("compensation", undo_of(step_id))
    return StepDefinition(
        id=step_id,
        service=f"{step_id}-service",
        operation=f"do-{step_id}",
        depends_on=after,
        **facts,
    )


def workflow(*steps: StepDefinition, **facts: Any) -> WorkflowDefinition:
    facts.setdefault("name", "order")
    facts.setdefault("version", 1)
    facts.setdefault("type", WorkflowType("ORDER_FULFILLMENT"))
    return WorkflowDefinition(steps=steps, **facts)


def chain(
    *step_ids: str, each: Callable[[str], dict[str, Any]] | None = None, **facts: Any
) -> WorkflowDefinition:
    """Steps one after the other; `each` may add facts to a step by its id."""
    steps: list[StepDefinition] = []
    for before, step_id in zip((None, *step_ids), step_ids, strict=False):
        more = each(step_id) if each is not None else {}
        steps.append(step(step_id, *(() if before is None else (before,)), **more))
    return workflow(*steps, **facts)


def diamond(**facts: Any) -> WorkflowDefinition:
    """reserve, then pick and charge side by side, then ship after both."""
    return workflow(
        step("reserve"),
        step("pick", "reserve"),
        step("charge", "reserve"),
        step("ship", "pick", "charge"),
        **facts,
    )


def with_pivot(**facts: Any) -> WorkflowDefinition:
    """reserve, the pivot charge, and ship, which is retriable and so only goes forward."""
    return workflow(
        step("reserve"),
        step("charge", "reserve", kind=StepKind.PIVOT),
        step("ship", "charge", kind=StepKind.RETRIABLE),
        **facts,
    )

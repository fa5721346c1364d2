"""The proof at registration: a definition that passes never strands a saga (S-002-47, C-11).

Until the pivot is done, everything done can be undone. From then on, every remaining step can only succeed.
All faults are reported together, so that an author can fix them in one go.
"""

from __future__ import annotations

from collections import Counter
from collections.abc import Iterator

from domain.definition.definition import StepDefinition, StepKind, WorkflowDefinition
from domain.definition.dependencies import Dependencies
from domain.definition.faults import Fault, Rule
from domain.definition.limits import limit_faults, size_faults
from domain.definition.references import KnownInput, reference_faults


def any_input(_path: tuple[str, ...]) -> bool:
    """Without an input schema, any field may exist."""
    return True


def registration_faults(
    definition: WorkflowDefinition, is_known_input: KnownInput = any_input
) -> tuple[Fault, ...]:
    """Every reason to refuse the definition; empty if it is safe to run."""
    too_many = tuple(size_faults(definition))
    if too_many:
        return too_many
    dependencies = Dependencies(definition.steps)
    return (
        *limit_faults(definition),
        *_structure_faults(definition, dependencies),
        *_compensation_faults(definition),
        *_pivot_faults(definition, dependencies),
        *reference_faults(definition, dependencies, is_known_input),
    )


# -- structure -----------------------------------------------------------------------------------


def _structure_faults(
    definition: WorkflowDefinition, dependencies: Dependencies
) -> Iterator[Fault]:
    if not definition.steps:
        yield Fault(rule=Rule.NO_STEPS, path="steps", message="has no steps; give at least one")
    counts = Counter(step.id for step in definition.steps)
    for step_id, count in counts.items():
        if count > 1:
            message = f"{count} steps are named {step_id}; give each its own id"
            yield _fault(Rule.DUPLICATE_STEP, step_id, "id", message)
    for step in definition.steps:
        for dependency in step.depends_on:
            if not definition.has_step(dependency):
                message = (
                    f"{step.id} depends on {dependency}, which is not a step of this definition"
                )
                yield _fault(Rule.UNKNOWN_DEPENDENCY, step.id, "dependsOn", message)
    if len(counts) < len(definition.steps):
        return  # if two steps share a name, a dependency is ambiguous
    cycles = dependencies.cycles()
    for cycle in cycles:
        message = f"{' -> '.join(cycle)} is a circle; take out one of these dependencies"
        yield _fault(Rule.CYCLE, cycle[0], "dependsOn", message)
    if not cycles:
        yield from _order_faults(definition)


def _order_faults(definition: WorkflowDefinition) -> Iterator[Fault]:
    placed: set[str] = set()
    for step in definition.steps:
        for dependency in step.depends_on:
            if definition.has_step(dependency) and dependency not in placed:
                message = (
                    f"{step.id} stands before {dependency}, which it depends on; move it behind"
                )
                yield _fault(Rule.STEP_ORDER, step.id, "dependsOn", message)
        placed.add(step.id)


# -- the way back --------------------------------------------------------------------------------


def consistency_faults(definition: WorkflowDefinition) -> tuple[str, ...]:
    """Faults of steps that change something but have no undo (S-002-47)."""
    return tuple(
        step.id
        for step in definition.steps
        if step.compensation is None and step.kind is StepKind.COMPENSATABLE
    )


def _compensation_faults(definition: WorkflowDefinition) -> Iterator[Fault]:
    without_undo = consistency_faults(definition)
    for step in definition.steps:
        has_undo = step.compensation is not None
        if step.id in without_undo:
            message = (
                f"{step.id} changes something and nothing undoes it; give it a compensation,"
                " or the kind read-only if it changes nothing"
            )
            yield _fault(Rule.COMPENSATION_MISSING, step.id, "compensation", message)
        elif step.kind is StepKind.READ_ONLY and has_undo:
            message = (
                f"{step.id} is read-only and has a compensation; take the compensation out,"
                " or make the step compensatable"
            )
            yield _fault(Rule.COMPENSATION_ON_READ_ONLY, step.id, "compensation", message)
        elif step.kind is StepKind.PIVOT and has_undo:
            message = (
                f"{step.id} is the point of no return and has a compensation; take it out,"
                " or make the step compensatable"
            )
            yield _fault(Rule.COMPENSATION_ON_PIVOT, step.id, "compensation", message)


# -- the way forward -----------------------------------------------------------------------------


def _pivot_faults(definition: WorkflowDefinition, dependencies: Dependencies) -> Iterator[Fault]:
    pivot = next(iter(definition.pivots), None)
    for other in definition.pivots[1:]:
        message = f"{other} can fail when {pivot} is done; only one step of a workflow is its pivot"
        yield _fault(Rule.SEVERAL_PIVOTS, other, "kind", message)
    before = dependencies.ancestors(pivot) if pivot else frozenset[str]()
    unprotected: list[str] = []
    for step in definition.steps:
        is_behind = pivot in dependencies.ancestors(step.id)
        if step.kind is StepKind.RETRIABLE and step.compensation is None:
            if is_behind:
                unprotected.append(step.id)
            else:
                yield _retriable_without_undo(step)
        elif step.kind is StepKind.COMPENSATABLE and pivot and step.id not in before:
            yield _behind_pivot(step, pivot) if is_behind else _parallel_to_pivot(step, pivot)
    if pivot and unprotected and definition.step(pivot).when is not None:
        message = (
            f"{pivot} may be skipped, and then nothing undoes {', '.join(unprotected)}; take `when`"
            " out of the pivot, or give those steps a compensation"
        )
        yield _fault(Rule.CONDITIONAL_PIVOT, pivot, "when", message)


def _retriable_without_undo(step: StepDefinition) -> Fault:
    message = (
        f"if another step fails, nothing undoes {step.id}; give it a compensation,"
        " or let it depend on a pivot"
    )
    return _fault(Rule.RETRIABLE_WITHOUT_UNDO, step.id, "kind", message)


def _behind_pivot(step: StepDefinition, pivot: str) -> Fault:
    message = (
        f"{step.id} comes after the pivot {pivot}, from where there is no way back; make it"
        " retriable or read-only, or move it before the pivot"
    )
    return _fault(Rule.NOT_RETRIABLE_AFTER_PIVOT, step.id, "kind", message)


def _parallel_to_pivot(step: StepDefinition, pivot: str) -> Fault:
    message = (
        f"{step.id} can fail when the pivot {pivot} is already done; let {pivot} depend on"
        f" {step.id}, or make {step.id} retriable"
    )
    return _fault(Rule.PARALLEL_TO_PIVOT, step.id, "dependsOn", message)


def _fault(rule: Rule, step_id: str, field: str, message: str) -> Fault:
    return Fault(rule=rule, step=step_id, path=f"steps.{step_id}.{field}", message=message)

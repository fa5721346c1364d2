"""The proof that every expression reads only what is there when it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from domain.definition.definition import StepDefinition, WorkflowDefinition
from domain.definition.dependencies import Dependencies
from domain.definition.expression import Expression
from domain.definition.faults import Fault, Rule

#: Whether the input schema leaves room for this path below `input`.
KnownInput = Callable[[tuple[str, ...]], bool]

#: What an expression sees (`WorkflowInstance.document`).
_ROOTS = ("input", "steps", "context", "signals")
_STEP_FIELDS = ("output", "status")


@dataclass(frozen=True, slots=True)
class _Scope:
    """Expressions in one place, and the steps that are done when they are evaluated."""

    path: str
    step: str | None
    expressions: tuple[Expression, ...]
    done: frozenset[str]


def reference_faults(
    definition: WorkflowDefinition, dependencies: Dependencies, is_known_input: KnownInput
) -> Iterator[Fault]:
    """Misspelt paths, inputs that a closed schema excludes, and steps that need not be done."""
    for scope in _scopes(definition, dependencies):
        reads = {
            (path, expression.source)
            for expression in scope.expressions
            for path in expression.references
        }
        for path, source in sorted(reads):
            problem = _problem(definition, path, scope, is_known_input)
            if problem is not None:
                rule, message = problem
                yield Fault(
                    rule=rule, step=scope.step, path=scope.path, message=f"{source!r}: {message}"
                )


def _scopes(definition: WorkflowDefinition, dependencies: Dependencies) -> Iterator[_Scope]:
    for step in definition.steps:
        place = f"steps.{step.id}"
        done = dependencies.ancestors(step.id) - {step.id}
        yield _Scope(f"{place}.input", step.id, step.input.expressions, done)
        if step.when is not None:
            yield _Scope(f"{place}.when", step.id, (step.when,), done)
        yield from _undo_scopes(step, f"{place}.compensation", done | {step.id})
    if definition.output is not None:
        every_step = frozenset(step.id for step in definition.steps)
        yield _Scope("output", None, definition.output.expressions, every_step)


def _undo_scopes(step: StepDefinition, place: str, done: frozenset[str]) -> Iterator[_Scope]:
    action = step.compensation
    if action is None:
        return
    yield _Scope(f"{place}.input", step.id, action.input.expressions, done)
    if action.verify is not None:
        yield _Scope(f"{place}.verify.input", step.id, action.verify.input.expressions, done)


def _problem(
    definition: WorkflowDefinition,
    path: tuple[str, ...],
    scope: _Scope,
    is_known_input: KnownInput,
) -> tuple[Rule, str] | None:
    match path:
        case () | ("steps",):
            if any(step.id not in scope.done for step in definition.steps):
                return Rule.NOT_A_DEPENDENCY, "reads all steps; name the steps that it needs"
        case ("input", *below):
            if not is_known_input(tuple(below)):
                name = ".".join(path)
                return (
                    Rule.UNKNOWN_INPUT,
                    f"{name} is excluded by inputSchema; add it there or mend the path",
                )
        case ("steps", step_id, *below):
            return _step_problem(definition, step_id, tuple(below), scope)
        case (root, *_) if root not in _ROOTS:
            message = f"there is no {root!r}; begin with one of {', '.join(_ROOTS)}"
            return Rule.UNKNOWN_REFERENCE, message
        case _:
            pass
    return None


def _step_problem(
    definition: WorkflowDefinition, step_id: str, below: tuple[str, ...], scope: _Scope
) -> tuple[Rule, str] | None:
    if not definition.has_step(step_id):
        return Rule.UNKNOWN_REFERENCE, f"{step_id} is not a step of this definition"
    if below and below[0] not in _STEP_FIELDS:
        message = f"a step has {' and '.join(_STEP_FIELDS)}, not {below[0]!r}"
        return Rule.UNKNOWN_REFERENCE, message
    if step_id not in scope.done:
        message = f"{scope.step} need not wait for {step_id}; add {step_id} to its dependsOn"
        return Rule.NOT_A_DEPENDENCY, message
    return None

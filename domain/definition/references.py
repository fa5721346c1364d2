"""The proof that every expression reads only values that exist when it is evaluated."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass

from domain.definition.definition import StepDefinition, WorkflowDefinition
from domain.definition.dependencies import Dependencies
from domain.definition.expression import Expression
from domain.definition.faults import Fault, Rule

#: Whether the input schema allows this path below `input`.
KnownInput = Callable[[tuple[str, ...]], bool]

#: What an expression sees (`WorkflowInstance.document`).
_ROOTS = ("input", "steps", "context", "signals")
_STEP_FIELDS = ("output", "status")
#: Words of JSON that JMESPath takes for the name of a field.
_CONSTANTS = ("null", "true", "false")


@dataclass(frozen=True, slots=True)
class _Scope:
    """Expressions with their places, and the steps that are certainly done when they are evaluated."""

    step: str | None
    expressions: tuple[tuple[str, Expression], ...]
    done: frozenset[str]


def reference_faults(
    definition: WorkflowDefinition, dependencies: Dependencies, is_known_input: KnownInput
) -> Iterator[Fault]:
    """Faults: misspelt paths, inputs that a closed schema excludes, and steps that may not be done."""
    for scope in _scopes(definition, dependencies):
        for place, expression in scope.expressions:
            for path in sorted(expression.references):
                problem = _problem(definition, path, scope, is_known_input)
                if problem is not None:
                    rule, message = problem
                    message = f"{expression.source!r}: {message}"
                    yield Fault(rule=rule, step=scope.step, path=place, message=message)


def _scopes(definition: WorkflowDefinition, dependencies: Dependencies) -> Iterator[_Scope]:
    for step in definition.steps:
        place = f"steps.{step.id}"
        done = dependencies.ancestors(step.id) - {step.id}
        yield _Scope(step.id, step.input.placed_expressions(f"{place}.input"), done)
        if step.when is not None:
            yield _Scope(step.id, ((f"{place}.when", step.when),), done)
        yield from _undo_scopes(step, f"{place}.compensation", done | {step.id})
    if definition.output is not None:
        every_step = frozenset(step.id for step in definition.steps)
        yield _Scope(None, definition.output.placed_expressions("output"), every_step)


def _undo_scopes(step: StepDefinition, place: str, done: frozenset[str]) -> Iterator[_Scope]:
    action = step.compensation
    if action is None:
        return
    yield _Scope(step.id, action.input.placed_expressions(f"{place}.input"), done)
    if action.verify is not None:
        verify = action.verify.input.placed_expressions(f"{place}.verify.input")
        yield _Scope(step.id, verify, done)


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
                    f"{name} is excluded by inputSchema; add it there or correct the path",
                )
        case ("steps", step_id, *below):
            return _step_problem(definition, step_id, tuple(below), scope)
        case (word,) if word in _CONSTANTS:
            return (
                Rule.UNKNOWN_REFERENCE,
                f"there is no field {word!r}; write the value in backquotes: `{word}`",
            )
        case (word,) if word not in _ROOTS:
            message = f"there is no {word!r}; write a text as \"'{word}'\", a field of the input as input.{word}"
            return Rule.UNKNOWN_REFERENCE, message
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

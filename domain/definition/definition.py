"""The workflow definition: an immutable, versioned template of steps (S-002-23, S-002-24, S-002-26)."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from functools import cached_property
from typing import Any

from domain.definition.compensation import CompensationAction
from domain.definition.expression import EMPTY, Expression, Template
from domain.definition.retry import RetryPolicy


class WorkflowType(str):
    """The type that a definition names. Only `ORDER_FULFILLMENT` supports waveless release (S-002-03)."""

    __slots__ = ()

    @property
    def supports_waveless(self) -> bool:
        return self == "ORDER_FULFILLMENT"


class StepKind(StrEnum):
    #: Has an undo.
    COMPENSATABLE = "compensatable"
    #: The point of no return: after it, the saga only goes forward.
    PIVOT = "pivot"
    #: After a pivot: repeated until it succeeds.
    RETRIABLE = "retriable"
    #: Changes nothing, so it needs no undo.
    READ_ONLY = "read-only"


class OnFailure(StrEnum):
    COMPENSATE = "compensate"
    #: Stays FAILED until an operator decides.
    HOLD = "hold"


class OnCancel(StrEnum):
    LEAVE = "leave"
    COMPENSATE = "compensate"


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StepDefinition:
    """One step of a definition; times in milliseconds."""

    id: str
    service: str
    operation: str
    name: str = ""
    depends_on: tuple[str, ...] = ()
    input: Template = EMPTY
    #: If it evaluates to false, the step is SKIPPED.
    when: Expression | None = None
    timeout_ms: int = 5000
    retry: RetryPolicy = field(default_factory=RetryPolicy)
    compensation: CompensationAction | None = None
    kind: StepKind = StepKind.COMPENSATABLE
    config: Mapping[str, Any] = field(default_factory=dict[str, Any])
    metadata: Mapping[str, Any] = field(default_factory=dict[str, Any])

    @property
    def undo_templates(self) -> tuple[Template, ...]:
        """The inputs of its undo and of the verification of that, as far as it has them."""
        action = self.compensation
        if action is None:
            return ()
        return (action.input,) if action.verify is None else (action.input, action.verify.input)


@dataclass(frozen=True, kw_only=True, eq=False)
class WorkflowDefinition:
    """A registered version of a definition. Compared by identity.

    `steps` are in execution order, which is a topological order of `depends_on`.
    """

    name: str
    version: int
    type: WorkflowType
    steps: tuple[StepDefinition, ...]
    title: str = ""
    waveless: bool = False
    timeout_seconds: int = 300
    on_failure: OnFailure = OnFailure.COMPENSATE
    on_cancel: OnCancel = OnCancel.LEAVE
    max_retries: int = 3
    output: Template | None = None
    #: Checks an input against the input schema and returns the faults. Compiled by the application layer.
    input_faults: Callable[[Mapping[str, Any]], tuple[Mapping[str, str], ...]] = field(
        default=lambda _input: ()
    )

    @property
    def id(self) -> str:
        return f"{self.name}-v{self.version}"

    @cached_property
    def _by_id(self) -> dict[str, StepDefinition]:
        return {step.id: step for step in self.steps}

    def step(self, step_id: str) -> StepDefinition:
        """Raises KeyError for a step that the definition does not have."""
        return self._by_id[step_id]

    def has_step(self, step_id: str) -> bool:
        return step_id in self._by_id

    @cached_property
    def first_step(self) -> StepDefinition:
        return self.steps[0]

    def next_step(self, step_id: str) -> StepDefinition | None:
        """The next step in execution order, None after the last."""
        following = self.execution_order[step_id]
        return self.steps[following] if following < len(self.steps) else None

    def is_last_step(self, step_id: str) -> bool:
        return self.steps[-1].id == step_id

    @cached_property
    def execution_order(self) -> dict[str, int]:
        """Step id -> its place in the execution order, from 1."""
        return {step.id: place for place, step in enumerate(self.steps, 1)}

    @cached_property
    def dependents(self) -> dict[str, frozenset[str]]:
        """Step id -> every step that depends on it, directly or through others."""
        found: dict[str, set[str]] = {step.id: set() for step in self.steps}
        for step in reversed(self.steps):
            for dependency in step.depends_on:
                if dependency in found:
                    found[dependency] |= {step.id} | found[step.id]
        return {step_id: frozenset(steps) for step_id, steps in found.items()}

    @cached_property
    def pivots(self) -> tuple[str, ...]:
        return tuple(step.id for step in self.steps if step.kind is StepKind.PIVOT)

    def compensation_of(self, step_id: str) -> CompensationAction | None:
        return self._by_id[step_id].compensation

"""The workflow aggregate: one run of one version of a definition (S-003-10, S-002-06 to S-002-09)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import datetime
from typing import Any, assert_never

from domain.definition.definition import StepDefinition, WorkflowDefinition
from domain.values import Value, field, fields_of
from domain.workflow.events import StartFacts
from domain.workflow.failure import WorkflowError
from domain.workflow.incident import Incident
from domain.workflow.status import CompensationStatus, StepStatus, WorkflowStatus
from domain.workflow.step import StepExecution

#: The order of preference for the current step of an instance.
_CURRENT = {
    StepStatus.EXECUTING: 0,
    StepStatus.COMPENSATING: 1,
    StepStatus.FAILED: 2,
    StepStatus.PENDING: 3,
}


class WorkflowInstance(Value):
    """The state after all events of one workflow. `version` is their number."""

    id: str
    facts: StartFacts
    version: int
    status: WorkflowStatus
    #: Step id -> execution, in execution order.
    steps: Mapping[str, StepExecution]
    created_at: datetime
    updated_at: datetime
    started_at: datetime | None = None
    completed_at: datetime | None = None
    #: When the workflow times out. None if it has no time-out, or while its clock is stopped.
    timeout_at: datetime | None = None
    #: Incremented when the clock restarts, so that an old time-out is not mistaken for a current one.
    clock_round: int = 1
    paused_at: datetime | None = None
    retry_count: int = 0
    waveless: bool = False
    release_queue: str | None = None
    output: Any = None
    errors: tuple[WorkflowError, ...] = ()
    cancel_reason: str | None = None
    compensation_status: CompensationStatus = CompensationStatus.NONE
    compensation_reason: str | None = None
    compensation_started_at: datetime | None = None
    #: In the order in which they were undone.
    compensated_steps: tuple[str, ...] = ()
    #: The step to which an operator reset the workflow, while what depends on it is undone.
    reset_to: str | None = None
    #: Steps that cannot be undone count as undone (force-compensate).
    forced: bool = False
    signals: Mapping[str, Any] = field(default_factory=dict[str, Any])
    #: The open incidents, oldest first.
    incidents: tuple[Incident, ...] = ()
    #: An upper bound of the bytes that expressions and requests can read (`weight`). It is an estimate, and may differ
    #: between states that are otherwise equal.
    held: int = 0

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, WorkflowInstance):
            return NotImplemented
        return fields_of(self) | {"held": 0} == fields_of(other) | {"held": 0}

    __hash__ = None

    @property
    def definition(self) -> WorkflowDefinition:
        return self.facts.definition

    @property
    def is_active(self) -> bool:
        return self.status.is_active

    @property
    def is_terminal(self) -> bool:
        return self.status.is_terminal

    @property
    def is_past_pivot(self) -> bool:
        """Whether the pivot is done, so that the saga only goes forward."""
        return any(self.steps[step_id].is_done for step_id in self.definition.pivots)

    @property
    def open_pivot(self) -> str | None:
        """The pivot, if its outcome is unknown and it may have been performed."""
        for step_id in self.definition.pivots:
            if self.steps[step_id].unanswered:
                return step_id
        return None

    def goes_back(self, step_id: str) -> bool:
        """Whether a compensation undoes this step: all of them, or those that a reset begins again."""
        target = self.reset_to
        return target is None or step_id == target or step_id in self.definition.dependents[target]

    def open_incident(self, code: str, step_id: str | None) -> Incident | None:
        for incident in self.incidents:
            if incident.code == code and incident.step_id == step_id:
                return incident
        return None

    @property
    def executed_steps(self) -> tuple[str, ...]:
        """Steps that were performed, undone or not, in order of completion."""
        done = [step for step in self.steps.values() if step.completion_order]
        return tuple(step.step_id for step in sorted(done, key=lambda step: step.completion_order))

    @property
    def unresolved(self) -> tuple[str, ...]:
        return tuple(step.step_id for step in self.steps.values() if step.is_unresolved)

    @property
    def steps_requiring_compensation(self) -> tuple[str, ...]:
        """Completed steps that have an undo, in the order in which they are undone: last completed first."""
        return tuple(
            step_id
            for step_id in reversed(self.executed_steps)
            if self.steps[step_id].needs_undo
            and self.definition.step(step_id).compensation is not None
        )

    @property
    def all_steps_completed(self) -> bool:
        return all(step.status.is_satisfied for step in self.steps.values())

    @property
    def progress(self) -> int:
        """Percentage of steps that are completed or skipped, including those undone since (0 to 100)."""
        done = sum(
            step.status.is_satisfied or step.completion_order > 0 for step in self.steps.values()
        )
        return 100 * done // len(self.steps)

    @property
    def compensation_progress(self) -> int:
        """Percentage of undos that are done (0 to 100)."""
        if self.compensation_status is CompensationStatus.COMPLETED:
            return 100
        done = len(self.compensated_steps)
        if not done:
            return 0
        return 100 * done // (done + len(self.steps_requiring_compensation))

    @property
    def current_step_id(self) -> str | None:
        """The step that is running, or would be next. None at the end."""
        if self.status.is_terminal:
            return None
        open_steps = [step for step in self.steps.values() if step.status in _CURRENT]
        if not open_steps:
            return None
        return min(open_steps, key=lambda step: _CURRENT[step.status]).step_id

    def has_timed_out(self, now: datetime) -> bool:
        return self.timeout_at is not None and now >= self.timeout_at

    def dependencies_hold(self, step: StepDefinition) -> bool:
        """Whether the step may begin: the steps that it depends on are completed, or skipped in their turn.

        An operator may skip a step before those that it waits for are done. It then passes their place on.
        """
        for dependency in step.depends_on:
            status = self.steps[dependency].status
            if status is StepStatus.COMPLETED:
                continue
            if status is not StepStatus.SKIPPED:
                return False
            if not self.dependencies_hold(self.definition.step(dependency)):
                return False
        return True

    @property
    def can_transition_to_waveless(self) -> bool:
        return (
            (self.definition.waveless or self.definition.type.supports_waveless)
            and not self.waveless
            and self.status in (WorkflowStatus.PENDING, WorkflowStatus.EXECUTING)
        )

    @property
    def allowed_commands(self) -> tuple[str, ...]:
        """The commands that would be accepted now, for user interfaces."""
        match self.status:
            case WorkflowStatus.PENDING:
                return ("cancel", "signal")
            case WorkflowStatus.EXECUTING:
                return ("pause", *self._cancel_if_possible(), "signal")
            case WorkflowStatus.PAUSED:
                return ("resume", *self._cancel_if_possible(), "signal")
            case WorkflowStatus.COMPLETED:
                return () if self.is_past_pivot else ("compensate",)
            case WorkflowStatus.FAILED:
                return self._allowed_when_failed()
            case WorkflowStatus.COMPENSATING | WorkflowStatus.CANCELLED:
                return ("force-compensate",)
            case WorkflowStatus.COMPENSATED:
                return ()
            case _:
                assert_never(self.status)

    def _cancel_if_possible(self) -> tuple[str, ...]:
        return () if self.is_past_pivot or self.open_pivot is not None else ("cancel",)

    def _allowed_when_failed(self) -> tuple[str, ...]:
        if self.compensation_status is CompensationStatus.FAILED:
            return ("compensate", "force-compensate")
        retry = ("retry",) if self.retry_count < self.facts.max_retries else ()
        if self.is_past_pivot or self.open_pivot is not None:
            return (*retry, "force-compensate")
        return (*retry, "compensate", "force-compensate")

    def document(self) -> dict[str, Any]:
        """The document that expressions read: the execution context with the input (S-002-05)."""
        facts = self.facts
        return {
            "input": facts.input,
            "steps": {
                step_id: {"output": step.output, "status": str(step.status)}
                for step_id, step in self.steps.items()
            },
            "signals": self.signals,
            "context": {
                "workflowId": self.id,
                "correlationId": facts.correlation_id,
                "tenant": facts.tenant,
                "userId": facts.user_id,
                "priority": str(facts.priority),
                "labels": facts.labels,
                "metadata": facts.metadata,
            },
        }

    def request_context(self) -> dict[str, Any]:
        """The facts about the workflow that every request carries."""
        facts = self.facts
        return {
            "correlationId": facts.correlation_id,
            "definition": facts.definition.name,
            "definitionVersion": facts.definition.version,
            "tenant": facts.tenant,
            "userId": facts.user_id,
            "fencingToken": None,
        }

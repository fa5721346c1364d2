"""The statuses of workflows and steps, and every legal transition between them (S-003-01 to S-003-09, S-002-01)."""

from __future__ import annotations

from enum import StrEnum


class WorkflowStatus(StrEnum):
    PENDING = "PENDING"
    EXECUTING = "EXECUTING"
    PAUSED = "PAUSED"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    CANCELLED = "CANCELLED"

    @property
    def is_terminal(self) -> bool:
        """Nothing follows automatically. An operator can still compensate a COMPLETED workflow (C-08)."""
        return self in _TERMINAL

    @property
    def is_active(self) -> bool:
        return self in _ACTIVE


class StepStatus(StrEnum):
    PENDING = "PENDING"
    EXECUTING = "EXECUTING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"
    COMPENSATING = "COMPENSATING"
    COMPENSATED = "COMPENSATED"
    SKIPPED = "SKIPPED"

    @property
    def is_satisfied(self) -> bool:
        """Steps that depend on one in this status may run."""
        return self is StepStatus.COMPLETED or self is StepStatus.SKIPPED


class CompensationStatus(StrEnum):
    NONE = "NONE"
    RUNNING = "RUNNING"
    COMPLETED = "COMPLETED"
    FAILED = "FAILED"


class WorkflowPriority(StrEnum):
    """HIGH comes before NORMAL, NORMAL before LOW (S-002-04)."""

    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"

    @property
    def rank(self) -> int:
        """0 is the most urgent."""
        return _RANK[self]


_TERMINAL = frozenset(
    {WorkflowStatus.COMPLETED, WorkflowStatus.COMPENSATED, WorkflowStatus.CANCELLED}
)
_ACTIVE = frozenset(
    {
        WorkflowStatus.PENDING,
        WorkflowStatus.EXECUTING,
        WorkflowStatus.PAUSED,
        WorkflowStatus.COMPENSATING,
    }
)
_RANK = {WorkflowPriority.HIGH: 0, WorkflowPriority.NORMAL: 1, WorkflowPriority.LOW: 2}

#: From the lifecycle in the requirements, with C-07 (retry), C-08 (compensate a completed run), C-14 (cancel from
#: PENDING and PAUSED), C-15 (a failed compensation) and the forced compensation of a cancelled run.
#: A reset goes from PAUSED or FAILED through COMPENSATING back to EXECUTING, and puts its steps back to PENDING.
WORKFLOW_TRANSITIONS: dict[WorkflowStatus, frozenset[WorkflowStatus]] = {
    WorkflowStatus.PENDING: frozenset({WorkflowStatus.EXECUTING, WorkflowStatus.CANCELLED}),
    WorkflowStatus.EXECUTING: frozenset(
        {
            WorkflowStatus.COMPLETED,
            WorkflowStatus.PAUSED,
            WorkflowStatus.FAILED,
            WorkflowStatus.CANCELLED,
        }
    ),
    WorkflowStatus.PAUSED: frozenset(
        {WorkflowStatus.EXECUTING, WorkflowStatus.CANCELLED, WorkflowStatus.COMPENSATING}
    ),
    WorkflowStatus.COMPLETED: frozenset({WorkflowStatus.COMPENSATING}),
    WorkflowStatus.FAILED: frozenset({WorkflowStatus.EXECUTING, WorkflowStatus.COMPENSATING}),
    WorkflowStatus.COMPENSATING: frozenset(
        {WorkflowStatus.COMPENSATED, WorkflowStatus.FAILED, WorkflowStatus.EXECUTING}
    ),
    WorkflowStatus.COMPENSATED: frozenset(),
    WorkflowStatus.CANCELLED: frozenset({WorkflowStatus.COMPENSATING}),
}

#: A FAILED step can run again by retry. It becomes COMPLETED when a late success arrives or the seal reports
#: `performed` (PROTOCOL rules 1 and 4), is undone if only its output was unusable, and may be skipped by an operator. A
#: COMPENSATED step can start a new round (rule 10).
STEP_TRANSITIONS: dict[StepStatus, frozenset[StepStatus]] = {
    StepStatus.PENDING: frozenset({StepStatus.EXECUTING, StepStatus.SKIPPED}),
    StepStatus.EXECUTING: frozenset({StepStatus.COMPLETED, StepStatus.FAILED}),
    StepStatus.COMPLETED: frozenset({StepStatus.COMPENSATING, StepStatus.COMPENSATED}),
    StepStatus.FAILED: frozenset(
        {
            StepStatus.EXECUTING,
            StepStatus.COMPLETED,
            StepStatus.COMPENSATING,
            StepStatus.SKIPPED,
        }
    ),
    StepStatus.COMPENSATING: frozenset({StepStatus.COMPENSATED}),
    StepStatus.COMPENSATED: frozenset({StepStatus.EXECUTING}),
    StepStatus.SKIPPED: frozenset(),
}


class IllegalTransition(Exception):
    """A bug: an event requires a transition that the tables do not allow."""


def checked(current: WorkflowStatus, target: WorkflowStatus) -> WorkflowStatus:
    """Returns `target` if a workflow may change from `current` to it. Raises IllegalTransition."""
    if target not in WORKFLOW_TRANSITIONS[current]:
        raise IllegalTransition(f"workflow: {current} -> {target}")
    return target


def checked_step(current: StepStatus, target: StepStatus) -> StepStatus:
    """Returns `target` if a step may change from `current` to it. Raises IllegalTransition."""
    if target not in STEP_TRANSITIONS[current]:
        raise IllegalTransition(f"step: {current} -> {target}")
    return target

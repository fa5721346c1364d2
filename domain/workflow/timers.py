"""The timers of a workflow, and what happens when they fire (PROTOCOL rules 12 and 13).

Timers are not stored. They follow from the state, so none can be lost or left over.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import assert_never

from domain.aggregate.event import DomainEvent
from domain.aggregate.timer import Firing, Timer
from domain.workflow.backward import schedule_undo
from domain.workflow.commands import Purpose, TimerKind
from domain.workflow.events import StepReplyIgnored
from domain.workflow.failure import ErrorType, WorkflowError
from domain.workflow.forward import fail, retry_step
from domain.workflow.instance import WorkflowInstance
from domain.workflow.replies import fail_attempt, fail_undo, timeout_error
from domain.workflow.sealing import ask_seal_again
from domain.workflow.status import StepStatus, WorkflowStatus
from domain.workflow.step import StepExecution


def timers_of(instance: WorkflowInstance) -> list[Timer]:
    """Every timer that the state has."""
    status = instance.status
    found: list[Timer] = []
    timeout_at = _timeout_of(instance)
    if timeout_at is not None:
        firing = Firing(
            name=TimerKind.WORKFLOW_TIMEOUT.value,
            subject=None,
            number=instance.clock_round,
            round=instance.clock_round,
        )
        found.append(Timer(timeout_at, firing))
    for step in instance.steps.values():
        due_at, kind = _step_timer(step, status)
        if due_at is not None and kind is not None:
            found.append(Timer(due_at, _firing(step, kind)))
    return found


def next_due(instance: WorkflowInstance) -> datetime | None:
    """When the next timer is due; None if there is none."""
    first = _timeout_of(instance)
    status = instance.status
    for step in instance.steps.values():
        # Called for every new state; most steps wait for nothing.
        if step.status is StepStatus.PENDING or step.status is StepStatus.COMPLETED:
            continue
        due_at, _ = _step_timer(step, status)
        if due_at is not None and (first is None or due_at < first):
            first = due_at
    return first


def _timeout_of(instance: WorkflowInstance) -> datetime | None:
    """The workflow's own time-out. It ends with the pivot, after which the saga only goes forward."""
    if instance.status is not WorkflowStatus.EXECUTING or instance.timeout_at is None:
        return None
    for pivot in instance.definition.pivots:
        step = instance.steps[pivot]
        if step.is_done or step.seal_attempt:
            return None
    return instance.timeout_at


def _step_timer(
    step: StepExecution, status: WorkflowStatus
) -> tuple[datetime | None, TimerKind | None]:
    """A step waits for at most one thing at a time."""
    if step.status is StepStatus.EXECUTING:
        return step.deadline, TimerKind.STEP_TIMEOUT
    if step.status is StepStatus.FAILED:
        if step.seal_due_at is not None:
            return step.seal_due_at, TimerKind.SEAL
        if status is WorkflowStatus.EXECUTING:
            return step.next_attempt_at, TimerKind.STEP_RETRY
    elif step.status is StepStatus.COMPENSATING and status is WorkflowStatus.COMPENSATING:
        if step.undo.deadline is not None:
            return step.undo.deadline, TimerKind.UNDO_TIMEOUT
        return step.undo.next_attempt_at, TimerKind.UNDO_RETRY
    return None, None


def _firing(step: StepExecution, kind: TimerKind) -> Firing:
    attempt = step.attempt
    if kind is TimerKind.SEAL:
        attempt = step.seal_attempt
    elif kind in (TimerKind.UNDO_TIMEOUT, TimerKind.UNDO_RETRY):
        attempt = step.undo.attempt
    return Firing(name=kind.value, subject=step.step_id, number=attempt, round=step.round)


def fire(instance: WorkflowInstance, firing: Firing, now: datetime) -> Sequence[DomainEvent]:
    """What a fired timer changes. If the state no longer has that timer, it is recorded as ignored."""
    if not any(timer.firing == firing for timer in timers_of(instance)):
        return (
            StepReplyIgnored(
                occurred_at=now,
                step_id=firing.subject if firing.subject in instance.steps else None,
                reason=f"the timer {firing.name} was settled before it fired",
                attempt=firing.number,
                round=firing.round,
            ),
        )
    kind = TimerKind(firing.name)
    if kind is TimerKind.WORKFLOW_TIMEOUT or firing.subject is None:
        return _workflow_timed_out(instance, now)
    step = instance.definition.step(firing.subject)
    late = timeout_error(step.id, step.service, f"no answer within {step.timeout_ms} ms")
    match kind:
        case TimerKind.STEP_TIMEOUT:
            return fail_attempt(instance, step, late, now, answered=False)
        case TimerKind.STEP_RETRY:
            return retry_step(instance, step, now)
        case TimerKind.SEAL:
            return ask_seal_again(instance, step, now)
        case TimerKind.UNDO_TIMEOUT:
            return fail_undo(instance, step, late, now)
        case TimerKind.UNDO_RETRY:
            verifying = instance.steps[step.id].undo.verifying
            purpose = Purpose.VERIFY if verifying else Purpose.UNDO
            return (schedule_undo(instance, step, now, purpose),)
        case _:
            assert_never(kind)


def _workflow_timed_out(instance: WorkflowInstance, now: datetime) -> Sequence[DomainEvent]:
    """The workflow timed out. An open pivot is resolved first, because it decides between going back and forward."""
    error = WorkflowError(
        step_id=instance.current_step_id,
        service_name=None,
        error_code="WORKFLOW_TIMEOUT",
        message=f"not done within {instance.facts.timeout_seconds} s",
        error_type=ErrorType.TIMEOUT,
        recoverable=True,
        occurred_at=now,
    )
    pivot = instance.open_pivot
    if pivot is None or instance.steps[pivot].status is not StepStatus.EXECUTING:
        return fail(instance, error, now)
    step = instance.definition.step(pivot)
    return fail_attempt(instance, step, error, now, answered=False, for_good=True)

"""The saga coordinator: what follows by itself from the state of an instance.

Forward it schedules what is ready and completes or fails the workflow; backward it resolves what is
unresolved and undoes what is done, in reverse over the dependency graph, in parallel only where the
graph allows. `next_events` is asked again after each of its answers until it has none.
"""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Any

from domain.commands import Purpose
from domain.definition import OnFailure, StepDefinition, StepKind, WorkflowDefinition
from domain.errors import ErrorType, WorkflowError
from domain.events import (
    CompensationCompleted,
    CompensationStarted,
    DomainEvent,
    IncidentRaised,
    SealRequest,
    StepCompensated,
    StepRequest,
    StepScheduled,
    StepSealed,
    StepSkipped,
    StepUnresolved,
    WorkflowCompleted,
    WorkflowFailed,
)
from domain.expression import ExpressionError, Template
from domain.ids import StepKey
from domain.instance import WorkflowInstance
from domain.status import CompensationStatus, StepStatus, WorkflowStatus
from domain.step import StepExecution, deadline_after


def next_events(instance: WorkflowInstance, now: datetime) -> Sequence[DomainEvent]:
    """What follows now; nothing while the instance waits for answers, timers or people."""
    if instance.status is WorkflowStatus.EXECUTING:
        return _forward(instance, now)
    if instance.status is WorkflowStatus.COMPENSATING:
        return _backward(instance, now)
    return ()


# -- forward -------------------------------------------------------------------------------------


def _forward(instance: WorkflowInstance, now: datetime) -> Sequence[DomainEvent]:
    scheduled: list[DomainEvent] = []
    satisfied = 0
    for step in instance.definition.steps:
        execution = instance.steps[step.id]
        status = execution.status
        if status is StepStatus.COMPLETED or status is StepStatus.SKIPPED:
            satisfied += 1
        elif status is StepStatus.PENDING:
            if instance.dependencies_hold(step):
                event = _begin_step(instance, step, now)
                if isinstance(event, WorkflowFailed):
                    return fail(instance, event.error, now)
                scheduled.append(event)
        elif status is StepStatus.FAILED:
            if execution.next_attempt_at is None and execution.error is not None:
                return fail(instance, execution.error, now)
            if execution.next_attempt_at is not None and execution.next_attempt_at <= now:
                scheduled.append(schedule_step(instance, step, now))
    if scheduled:
        return scheduled
    return complete(instance, now) if satisfied == len(instance.steps) else ()


def _begin_step(
    instance: WorkflowInstance, step: StepDefinition, now: datetime
) -> StepScheduled | StepSkipped | WorkflowFailed:
    """A step's first attempt, unless its condition does not hold or its input cannot be made."""
    try:
        if step.when is not None and not step.when.evaluate(instance.document()):
            return StepSkipped(
                occurred_at=now, step_id=step.id, reason=f"not so: {step.when.source}"
            )
        return schedule_step(instance, step, now)
    except ExpressionError as fault:
        error = WorkflowError(
            step_id=step.id,
            service_name=step.service,
            error_code="INPUT_MAPPING",
            message=str(fault),
            error_type=ErrorType.VALIDATION_ERROR,
            recoverable=False,
            occurred_at=now,
        )
        return WorkflowFailed(
            occurred_at=now, step_id=step.id, error=error, will_compensate=False, duration_ms=0
        )


def schedule_step(
    instance: WorkflowInstance,
    step: StepDefinition,
    now: datetime,
    *,
    input: Any = None,
    actor: str = "system",
) -> StepScheduled:
    """The next attempt of a step; a new round after it was compensated or sealed (PROTOCOL rule 10).

    Its service may have sealed it as soon as it was asked to, whatever resolved the step in the
    end. A later attempt sends the same input as the first of its round. Raises ExpressionError.
    """
    execution = instance.steps[step.id]
    new_round = execution.seal_attempt > 0 or execution.status is StepStatus.COMPENSATED
    round = execution.round + new_round
    if input is None:
        same_round = execution.attempt > 0 and not new_round
        input = execution.input if same_round else step.input.render(instance.document())
    attempt = 1 if new_round else execution.attempt + 1
    request = StepRequest(
        workflow_id=instance.id,
        step_id=step.id,
        service=step.service,
        operation=step.operation,
        input=input,
        context=instance.request_context(),
        attempt=attempt,
        round=round,
        deadline=deadline_after(now, step.timeout_ms),
    )
    return StepScheduled(
        occurred_at=now,
        actor=actor,
        step_id=step.id,
        service_name=step.service,
        operation=step.operation,
        attempt=attempt,
        round=round,
        idempotency_key=f"{instance.id}/{step.id}/{round}",
        purpose=None,
        request=request,
    )


def fail(instance: WorkflowInstance, error: WorkflowError, now: datetime) -> Sequence[DomainEvent]:
    """The workflow fails and, unless it holds or is past a pivot, compensates in the same commit (S-003-29).

    A pivot that may have happened decides between back and forward, so it is resolved before anything else.
    """
    pivot = instance.open_pivot
    if pivot is not None:
        return _resolve(instance, pivot, now)
    past_pivot = instance.is_past_pivot
    will_compensate = not past_pivot and instance.definition.on_failure is OnFailure.COMPENSATE
    failed = WorkflowFailed(
        occurred_at=now,
        step_id=error.step_id,
        error=error,
        will_compensate=will_compensate,
        duration_ms=elapsed_ms(instance.started_at, now),
    )
    if will_compensate:
        return (failed, start_compensation(instance, now, error.message, "FAILURE"))
    if past_pivot:
        return (
            failed,
            IncidentRaised(
                occurred_at=now,
                step_id=error.step_id,
                code="PAST_PIVOT",
                detail=f"{error.message}; past its pivot the workflow can only go forward: retry it",
            ),
        )
    return (failed,)


def _resolve(instance: WorkflowInstance, step_id: str, now: datetime) -> Sequence[DomainEvent]:
    """Wait for the running attempt or the seal's answer; ask for the seal once nothing runs any more."""
    execution = instance.steps[step_id]
    if execution.status is StepStatus.EXECUTING or execution.seal_attempt:
        return ()
    return (ask_seal(instance, instance.definition.step(step_id), now),)


def complete(instance: WorkflowInstance, now: datetime) -> Sequence[DomainEvent]:
    """Every step is satisfied. An output that cannot be made is an incident, not a reason to undo the work."""
    template = instance.definition.output
    output: Any = None
    incidents: tuple[IncidentRaised, ...] = ()
    try:
        output = template.render(instance.document()) if template is not None else None
    except ExpressionError as fault:
        incidents = (
            IncidentRaised(occurred_at=now, step_id=None, code="OUTPUT_MAPPING", detail=str(fault)),
        )
    completed = WorkflowCompleted(
        occurred_at=now, output=output, duration_ms=elapsed_ms(instance.started_at, now)
    )
    return (completed, *incidents)


# -- sealing -------------------------------------------------------------------------------------


def ask_seal(instance: WorkflowInstance, step: StepDefinition, now: datetime) -> StepUnresolved:
    """Ask the step's service to seal it, again after the step's backoff, without limit (PROTOCOL rule 1)."""
    execution = instance.steps[step.id]
    key = execution.key(instance.id)
    attempt = execution.seal_attempt + 1
    return StepUnresolved(
        occurred_at=now,
        step_id=step.id,
        service_name=step.service,
        round=execution.round,
        attempts=execution.unanswered,
        seal_attempt=attempt,
        next_seal_at=now + step.retry.delay(attempt - 1, f"{key}/seal", attempt),
        idempotency_key=key,
        request=SealRequest(
            workflow_id=instance.id,
            step_id=step.id,
            service=step.service,
            operation=step.operation,
            round=execution.round,
            context=instance.request_context(),
        ),
    )


def seal_open_steps(instance: WorkflowInstance, now: datetime) -> list[DomainEvent]:
    """Seals for every step with an attempt that has no answer and that nobody asked about yet."""
    return [
        ask_seal(instance, step, now)
        for step in instance.definition.steps
        if instance.steps[step.id].unanswered and not instance.steps[step.id].seal_attempt
    ]


# -- backward ------------------------------------------------------------------------------------


def start_compensation(
    instance: WorkflowInstance,
    now: datetime,
    reason: str | None,
    trigger: str,
    actor: str = "system",
) -> CompensationStarted:
    return CompensationStarted(
        occurred_at=now,
        actor=actor,
        reason=reason,
        trigger=trigger,
        steps=instance.steps_requiring_compensation,
    )


def _backward(instance: WorkflowInstance, now: datetime) -> Sequence[DomainEvent]:
    seals = _give_up_seals(instance, now) if instance.forced else seal_open_steps(instance, now)
    if seals:
        return seals
    failed = [
        step
        for step in instance.steps.values()
        if step.undo.status is CompensationStatus.FAILED and step.status is StepStatus.COMPENSATING
    ]
    if failed and instance.forced:
        return [_take_as_undone(instance, step, now) for step in failed]
    if not failed:
        undos = [
            schedule_undo(instance, step, now)
            for step in instance.definition.steps
            if _may_be_undone(instance, step)
        ]
        if undos:
            return undos
    if any(_is_busy(step) for step in instance.steps.values()):
        return ()
    return _end_compensation(instance, failed, now)


def _may_be_undone(instance: WorkflowInstance, step: StepDefinition) -> bool:
    """Its undo has not begun, or failed before, and nothing that depends on it is still done or unknown."""
    execution = instance.steps[step.id]
    return (
        execution.awaits_undo
        and step.compensation is not None
        and all(
            _is_clear(instance.definition, instance.steps[dependent])
            for dependent in instance.definition.dependents[step.id]
        )
    )


def _is_clear(definition: WorkflowDefinition, execution: StepExecution) -> bool:
    if execution.unanswered or execution.status is StepStatus.COMPENSATING:
        return False
    done = execution.status is StepStatus.COMPLETED
    return not done or definition.compensation_of(execution.step_id) is None


def _is_busy(execution: StepExecution) -> bool:
    """It still waits for an answer or a timer of its own."""
    if execution.unanswered:
        return True
    undo = execution.undo
    return execution.status is StepStatus.COMPENSATING and (
        undo.deadline is not None or undo.next_attempt_at is not None
    )


def schedule_undo(
    instance: WorkflowInstance,
    step: StepDefinition,
    now: datetime,
    purpose: Purpose = Purpose.UNDO,
) -> StepScheduled:
    """The next attempt of a step's undo, or of the check that the undo worked."""
    action = step.compensation
    assert action is not None
    execution = instance.steps[step.id]
    verify = action.verify if purpose is Purpose.VERIFY else None
    attempt = execution.undo.attempt + 1
    request = StepRequest(
        workflow_id=instance.id,
        step_id=step.id,
        service=action.service_name,
        operation=verify.operation if verify else action.operation,
        input=_render_undo(instance, verify.input if verify else action.input),
        context=instance.request_context(),
        attempt=attempt,
        round=execution.round,
        deadline=deadline_after(now, step.timeout_ms),
        strategy=action.strategy.value,
        step_output=execution.output,
        snapshot=execution.snapshot,
        reason=instance.compensation_reason,
    )
    return StepScheduled(
        occurred_at=now,
        step_id=step.id,
        service_name=action.service_name,
        operation=request.operation,
        attempt=attempt,
        round=execution.round,
        idempotency_key=str(StepKey(instance.id, step.id, execution.round, purpose=purpose.value)),
        purpose=purpose.value,
        request=request,
    )


def _render_undo(instance: WorkflowInstance, template: Template) -> Any:
    """An undo must not stop at its mapping: what cannot be evaluated is left to `stepOutput`."""
    try:
        return template.render(instance.document())
    except ExpressionError:
        return {}


def _give_up_seals(instance: WorkflowInstance, now: datetime) -> list[DomainEvent]:
    """Forced: each is asked, but not waited for, and somebody has to look at what it did."""
    events: list[DomainEvent] = []
    for step in instance.steps.values():
        if not step.unanswered:
            continue
        if not step.seal_attempt:
            events.append(ask_seal(instance, instance.definition.step(step.step_id), now))
            continue
        events.append(
            StepSealed(
                occurred_at=now,
                step_id=step.step_id,
                round=step.round,
                performed=False,
                forced=True,
            )
        )
        events.append(
            IncidentRaised(
                occurred_at=now,
                step_id=step.step_id,
                code="UNRESOLVED",
                detail=f"{step.step_id} was given up without an answer; look at its service",
            )
        )
    return events


def _take_as_undone(
    instance: WorkflowInstance, step: StepExecution, now: datetime
) -> StepCompensated:
    action = instance.definition.compensation_of(step.step_id)
    assert action is not None
    return StepCompensated(
        occurred_at=now,
        step_id=step.step_id,
        service_name=action.service_name,
        operation=action.operation,
        attempt=step.undo.attempt,
        execution_time_ms=0,
        forced=True,
    )


def _end_compensation(
    instance: WorkflowInstance, failed: Sequence[StepExecution], now: datetime
) -> Sequence[DomainEvent]:
    ended = CompensationCompleted(
        occurred_at=now,
        success=not failed,
        compensated_steps=instance.compensated_steps,
        failed_steps=tuple(step.step_id for step in failed),
        duration_ms=elapsed_ms(instance.compensation_started_at, now),
    )
    incidents = [
        IncidentRaised(
            occurred_at=now,
            step_id=step.step_id,
            code="COMPENSATION_FAILED",
            detail=f"the undo of {step.step_id} failed: {step.undo.error.message if step.undo.error else ''};"
            " compensate again or force it",
        )
        for step in failed
    ]
    return (ended, *incidents)


def elapsed_ms(since: datetime | None, now: datetime) -> int:
    return 0 if since is None else (now - since) // timedelta(milliseconds=1)


def consistency_faults(definition: WorkflowDefinition) -> tuple[str, ...]:
    """Steps that change something and have no undo (S-002-47)."""
    return tuple(
        step.id
        for step in definition.steps
        if step.compensation is None and step.kind is StepKind.COMPENSATABLE
    )

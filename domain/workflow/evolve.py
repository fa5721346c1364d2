"""`evolve(state, event) -> state`: the only way in which an instance changes, both live and in a replay."""

from __future__ import annotations

from collections.abc import Callable
from datetime import datetime, timedelta
from typing import Any

from domain.aggregate.event import CommandRejected, DomainEvent
from domain.aggregate.kind import HistoryError
from domain.values import changed
from domain.workflow.events import (
    CompensationCompleted,
    CompensationStarted,
    IncidentRaised,
    IncidentResolved,
    StartFacts,
    StepCompensated,
    StepCompensationFailed,
    StepExecuted,
    StepFailed,
    StepReplyIgnored,
    StepRetryScheduled,
    StepScheduled,
    StepSealed,
    StepSkipped,
    StepUnresolved,
    WavelessProcessingEnabled,
    WorkflowAccepted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowPatched,
    WorkflowPaused,
    WorkflowReleased,
    WorkflowReset,
    WorkflowResumed,
    WorkflowRetried,
    WorkflowSignalled,
    WorkflowStarted,
)
from domain.workflow.failure import WorkflowError
from domain.workflow.incident import Incident
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import (
    CompensationStatus,
    StepStatus,
    WorkflowStatus,
    checked,
    checked_step,
)
from domain.workflow.step import StepExecution
from domain.workflow.weight import at_most, held_at_start

#: An instance keeps its newest errors. All of them are in the history.
ERRORS_KEPT = 50


def evolve(
    instance: WorkflowInstance | None, event: DomainEvent, workflow_id: str = ""
) -> WorkflowInstance:
    """The state after the event. `workflow_id` is only needed for the first event."""
    if instance is None:
        if isinstance(event, (WorkflowStarted, WorkflowAccepted)):
            return _begin(event, workflow_id)
        raise HistoryError(f"{event.TYPE} before the workflow began")
    apply = _APPLY.get(type(event))
    if apply is None:
        raise HistoryError(f"{event.TYPE} is not an event of a running workflow")
    return apply(instance, event)


def _begin(event: WorkflowStarted | WorkflowAccepted, workflow_id: str) -> WorkflowInstance:
    facts = event.facts
    started = isinstance(event, WorkflowStarted)
    at = event.occurred_at
    return WorkflowInstance(
        id=workflow_id,
        facts=facts,
        version=1,
        status=WorkflowStatus.EXECUTING if started else WorkflowStatus.PENDING,
        steps={step.id: StepExecution.create(step) for step in facts.definition.steps},
        created_at=at,
        updated_at=at,
        started_at=at if started else None,
        timeout_at=_timeout_from(facts, at) if started else None,
        waveless=facts.release_queue is not None,
        release_queue=facts.release_queue,
        held=held_at_start(facts),
    )


def _timeout_from(facts: StartFacts, at: datetime) -> datetime | None:
    return at + timedelta(seconds=facts.timeout_seconds) if facts.timeout_seconds else None


def _next(instance: WorkflowInstance, event: DomainEvent, **changes: Any) -> WorkflowInstance:
    return changed(instance, version=instance.version + 1, updated_at=event.occurred_at, **changes)


def _with_step(
    instance: WorkflowInstance, event: DomainEvent, step: StepExecution, **changes: Any
) -> WorkflowInstance:
    before = instance.steps[step.step_id].status
    if step.status is not before:
        checked_step(before, step.status)
    steps = {**instance.steps, step.step_id: step}
    return _next(instance, event, steps=steps, **changes)


# -- workflow ------------------------------------------------------------------------------------


def _started(instance: WorkflowInstance, event: WorkflowStarted) -> WorkflowInstance:
    at = event.occurred_at
    return _next(
        instance,
        event,
        status=checked(instance.status, WorkflowStatus.EXECUTING),
        started_at=at,
        timeout_at=_timeout_from(instance.facts, at),
    )


def _completed(instance: WorkflowInstance, event: WorkflowCompleted) -> WorkflowInstance:
    return _next(
        instance,
        event,
        status=checked(instance.status, WorkflowStatus.COMPLETED),
        output=event.output,
        completed_at=event.occurred_at,
        timeout_at=None,
    )


def _failed(instance: WorkflowInstance, event: WorkflowFailed) -> WorkflowInstance:
    errors = instance.errors
    if not errors or errors[-1] != event.error:
        errors = (*errors, event.error)[-ERRORS_KEPT:]
    return _next(
        instance,
        event,
        status=checked(instance.status, WorkflowStatus.FAILED),
        errors=errors,
        completed_at=event.occurred_at,
        timeout_at=None,
        clock_round=instance.clock_round + 1,
    )


def _paused(instance: WorkflowInstance, event: WorkflowPaused) -> WorkflowInstance:
    return _next(
        instance,
        event,
        status=checked(instance.status, WorkflowStatus.PAUSED),
        paused_at=event.occurred_at,
    )


def _resumed(instance: WorkflowInstance, event: WorkflowResumed) -> WorkflowInstance:
    timeout_at = instance.timeout_at
    if timeout_at is not None and instance.paused_at is not None:
        timeout_at += event.occurred_at - instance.paused_at
    return _next(
        instance,
        event,
        status=checked(instance.status, WorkflowStatus.EXECUTING),
        paused_at=None,
        timeout_at=timeout_at,
        clock_round=instance.clock_round + 1,
    )


def _cancelled(instance: WorkflowInstance, event: WorkflowCancelled) -> WorkflowInstance:
    return _next(
        instance,
        event,
        status=checked(instance.status, WorkflowStatus.CANCELLED),
        cancel_reason=event.reason,
        completed_at=event.occurred_at,
        paused_at=None,
        timeout_at=None,
    )


def _reset(instance: WorkflowInstance, event: WorkflowReset) -> WorkflowInstance:
    return _next(
        instance,
        event,
        status=checked(instance.status, WorkflowStatus.COMPENSATING),
        reset_to=event.to_step,
        compensation_status=CompensationStatus.RUNNING,
        compensation_reason=event.reason,
        compensation_started_at=event.occurred_at,
        completed_at=None,
        paused_at=None,
        timeout_at=None,
    )


def _retried(instance: WorkflowInstance, event: WorkflowRetried) -> WorkflowInstance:
    steps: dict[str, StepExecution] = {}
    for step_id, step in instance.steps.items():
        if instance.reset_to is not None and instance.goes_back(step_id):
            steps[step_id] = step.begin_again()
        elif step.status is StepStatus.FAILED:
            steps[step_id] = step.reset_retries(event.occurred_at)
        else:
            steps[step_id] = step
    return _next(
        instance,
        event,
        status=checked(instance.status, WorkflowStatus.EXECUTING),
        steps=steps,
        retry_count=event.retry_count,
        completed_at=None,
        timeout_at=_timeout_from(instance.facts, event.occurred_at),
        clock_round=instance.clock_round + 1,
        reset_to=None,
        compensation_status=CompensationStatus.NONE,
        compensation_reason=None,
        compensation_started_at=None,
        compensated_steps=(),
    )


def _signalled(instance: WorkflowInstance, event: WorkflowSignalled) -> WorkflowInstance:
    held = instance.held + at_most((event.name, event.payload))
    return _next(
        instance, event, signals={**instance.signals, event.name: event.payload}, held=held
    )


def _patched(instance: WorkflowInstance, event: WorkflowPatched) -> WorkflowInstance:
    part, _, name = event.path.partition(".")
    of_facts = "input" if part == "input" else "metadata"
    fields = {**getattr(instance.facts, of_facts), name: event.after}
    if event.after is None:
        del fields[name]
    return _next(
        instance,
        event,
        facts=changed(instance.facts, **{of_facts: fields}),
        steps={step_id: step.renew() for step_id, step in instance.steps.items()},
        held=instance.held + at_most((name, event.after)),
    )


def _waveless(instance: WorkflowInstance, event: WavelessProcessingEnabled) -> WorkflowInstance:
    return _next(instance, event, waveless=True, release_queue=event.release_queue)


def _unchanged(instance: WorkflowInstance, event: DomainEvent) -> WorkflowInstance:
    return _next(instance, event)


# -- steps ---------------------------------------------------------------------------------------


def _step_scheduled(instance: WorkflowInstance, event: StepScheduled) -> WorkflowInstance:
    step = instance.steps[event.step_id]
    deadline = event.request.deadline
    if event.purpose is None:
        step = step.execute(
            attempt=event.attempt,
            round=event.round,
            input=event.request.input,
            now=event.occurred_at,
            deadline=deadline,
        )
    else:
        step = step.compensate(
            attempt=event.attempt, verifying=event.purpose == "verify", deadline=deadline
        )
    return _with_step(instance, event, step)


def _next_order(instance: WorkflowInstance) -> int:
    return 1 + max(step.completion_order for step in instance.steps.values())


def _step_executed(instance: WorkflowInstance, event: StepExecuted) -> WorkflowInstance:
    step = instance.steps[event.step_id].mark_completed(
        event.output,
        event.execution_time_ms,
        event.occurred_at,
        _next_order(instance),
        event.snapshot,
    )
    held = instance.held + at_most(event.output) + at_most(event.snapshot)
    return _with_step(instance, event, step, held=held)


def _step_failed(instance: WorkflowInstance, event: StepFailed) -> WorkflowInstance:
    error = WorkflowError(
        step_id=event.step_id,
        service_name=event.service_name,
        error_code=event.error_code,
        message=event.message,
        error_type=event.error_type,
        recoverable=event.recoverable,
        attempt=event.attempt,
        occurred_at=event.occurred_at,
    )
    step = instance.steps[event.step_id]
    if event.performed:
        step = step.mark_unusable(error, event.occurred_at, _next_order(instance))
    else:
        answered = event.attempt if event.answered else None
        step = step.mark_failed(error, answered, event.next_attempt_at)
    return _with_step(instance, event, step, errors=(*instance.errors, error)[-ERRORS_KEPT:])


def _step_skipped(instance: WorkflowInstance, event: StepSkipped) -> WorkflowInstance:
    return _with_step(instance, event, instance.steps[event.step_id].skip(event.occurred_at))


def _step_unresolved(instance: WorkflowInstance, event: StepUnresolved) -> WorkflowInstance:
    step = instance.steps[event.step_id].ask_seal(event.next_seal_at)
    return _with_step(instance, event, step)


def _step_sealed(instance: WorkflowInstance, event: StepSealed) -> WorkflowInstance:
    step = instance.steps[event.step_id]
    if not event.performed:
        return _with_step(instance, event, step.mark_sealed())
    order = _next_order(instance)
    if event.error is not None:
        step = step.mark_unusable(event.error, event.occurred_at, order)
        errors = (*instance.errors, event.error)[-ERRORS_KEPT:]
        return _with_step(instance, event, step, errors=errors)
    step = step.mark_completed(event.output, 0, event.occurred_at, order, event.snapshot)
    held = instance.held + at_most(event.output) + at_most(event.snapshot)
    return _with_step(instance, event, step, held=held)


def _reply_ignored(instance: WorkflowInstance, event: StepReplyIgnored) -> WorkflowInstance:
    if event.resolves is None or event.step_id is None:
        return _next(instance, event)
    step = instance.steps[event.step_id]
    unanswered = step.without(event.resolves)
    seal_due_at = step.seal_due_at if unanswered else None
    step = changed(step, unanswered=unanswered, seal_due_at=seal_due_at)
    return _with_step(instance, event, step)


# -- incidents -----------------------------------------------------------------------------------


def _incident_raised(instance: WorkflowInstance, event: IncidentRaised) -> WorkflowInstance:
    if instance.open_incident(event.code, event.step_id) is not None:
        return _next(instance, event)
    incident = Incident(
        code=event.code,
        step_id=event.step_id,
        version=instance.version + 1,
        raised_at=event.occurred_at,
        detail=event.detail,
    )
    return _next(instance, event, incidents=(*instance.incidents, incident))


def _incident_resolved(instance: WorkflowInstance, event: IncidentResolved) -> WorkflowInstance:
    passed = instance.open_incident(event.code, event.step_id)
    left = tuple(incident for incident in instance.incidents if incident is not passed)
    return _next(instance, event, incidents=left)


# -- compensation --------------------------------------------------------------------------------


def _compensation_started(
    instance: WorkflowInstance, event: CompensationStarted
) -> WorkflowInstance:
    steps = {
        step_id: step.reset_undo() if step.undo.status is CompensationStatus.FAILED else step
        for step_id, step in instance.steps.items()
    }
    status = instance.status
    if status is not WorkflowStatus.COMPENSATING:
        status = checked(status, WorkflowStatus.COMPENSATING)
    return _next(
        instance,
        event,
        status=status,
        steps=steps,
        compensation_status=CompensationStatus.RUNNING,
        compensation_reason=event.reason,
        compensation_started_at=event.occurred_at,
        completed_at=None,
        forced=instance.forced or event.trigger == "FORCE",
        reset_to=None,
    )


def _compensation_completed(
    instance: WorkflowInstance, event: CompensationCompleted
) -> WorkflowInstance:
    target = WorkflowStatus.COMPENSATED if event.success else WorkflowStatus.FAILED
    outcome = CompensationStatus.COMPLETED if event.success else CompensationStatus.FAILED
    return _next(
        instance,
        event,
        status=checked(instance.status, target),
        compensation_status=outcome,
        completed_at=event.occurred_at,
        reset_to=None,
    )


def _step_compensated(instance: WorkflowInstance, event: StepCompensated) -> WorkflowInstance:
    step = instance.steps[event.step_id].mark_compensated(event.occurred_at)
    return _with_step(
        instance, event, step, compensated_steps=(*instance.compensated_steps, event.step_id)
    )


def _step_compensation_failed(
    instance: WorkflowInstance, event: StepCompensationFailed
) -> WorkflowInstance:
    error = WorkflowError(
        step_id=event.step_id,
        service_name=event.service_name,
        error_code=event.error_code,
        message=event.message,
        error_type=event.error_type,
        recoverable=event.recoverable,
        attempt=event.attempt,
        occurred_at=event.occurred_at,
    )
    step = instance.steps[event.step_id].mark_compensation_failed(error, event.next_attempt_at)
    return _with_step(instance, event, step, errors=(*instance.errors, error)[-ERRORS_KEPT:])


_APPLY: dict[type[DomainEvent], Callable[[WorkflowInstance, Any], WorkflowInstance]] = {
    WorkflowStarted: _started,
    WorkflowReleased: _unchanged,
    WorkflowCompleted: _completed,
    WorkflowFailed: _failed,
    WorkflowPaused: _paused,
    WorkflowResumed: _resumed,
    WorkflowCancelled: _cancelled,
    WorkflowRetried: _retried,
    WorkflowSignalled: _signalled,
    WorkflowPatched: _patched,
    WorkflowReset: _reset,
    WavelessProcessingEnabled: _waveless,
    StepScheduled: _step_scheduled,
    StepExecuted: _step_executed,
    StepFailed: _step_failed,
    StepRetryScheduled: _unchanged,
    StepSkipped: _step_skipped,
    StepUnresolved: _step_unresolved,
    StepSealed: _step_sealed,
    StepReplyIgnored: _reply_ignored,
    StepCompensated: _step_compensated,
    StepCompensationFailed: _step_compensation_failed,
    CompensationStarted: _compensation_started,
    CompensationCompleted: _compensation_completed,
    IncidentRaised: _incident_raised,
    IncidentResolved: _incident_resolved,
    CommandRejected: _unchanged,
}

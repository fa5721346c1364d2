"""Going forward: schedule the steps that are ready, and complete or fail the workflow when none is left."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from domain.aggregate.event import DomainEvent
from domain.aggregate.ids import StepKey
from domain.definition.definition import OnFailure, StepDefinition
from domain.definition.expression import ExpressionError, Template
from domain.workflow.backward import start_compensation, undo_fault
from domain.workflow.events import (
    IncidentRaised,
    StepRequest,
    StepScheduled,
    StepSkipped,
    WorkflowCompleted,
    WorkflowFailed,
)
from domain.workflow.failure import ErrorType, WorkflowError
from domain.workflow.incident import IncidentCode
from domain.workflow.incident_lifecycle import raise_incident
from domain.workflow.instance import WorkflowInstance
from domain.workflow.sealing import ask_seal
from domain.workflow.status import StepStatus
from domain.workflow.step import deadline_after, elapsed_ms
from domain.workflow.weight import (
    WEIGHT_MAX,
    Requests,
    is_light,
    is_light_template,
    json_bytes,
    request_bytes,
    too_large,
)

#: Error code of something that is too large for a message.
TOO_LARGE = "TOO_LARGE"


def forward(instance: WorkflowInstance, now: datetime, requests: Requests) -> Sequence[DomainEvent]:
    """Begin the steps that are ready. The workflow fails when a step fails, and completes with the last one."""
    ready: list[StepDefinition] = []
    satisfied = 0
    for step in instance.definition.steps:
        execution = instance.steps[step.id]
        status = execution.status
        if status is StepStatus.COMPLETED or status is StepStatus.SKIPPED:
            satisfied += 1
        elif status is StepStatus.PENDING:
            if instance.dependencies_hold(step):
                ready.append(step)
        elif status is StepStatus.FAILED:
            retry_at = execution.next_attempt_at
            if retry_at is None and execution.error is not None:
                return fail(instance, execution.error, now)
            if retry_at is not None and retry_at <= now:
                ready.append(step)
    if ready:
        return _begin(instance, ready, now, requests)
    return complete(instance, now) if satisfied == len(instance.steps) else ()


def _begin(
    instance: WorkflowInstance, ready: Sequence[StepDefinition], now: datetime, requests: Requests
) -> Sequence[DomainEvent]:
    """Attempts of as many steps as fit into one commit. The others follow when these are answered."""
    scheduled: list[DomainEvent] = []
    for step in ready:
        if requests.is_full:
            break
        is_first = instance.steps[step.id].status is StepStatus.PENDING
        event = (_begin_step if is_first else _attempt)(instance, step, now)
        if isinstance(event, WorkflowFailed):
            return fail(instance, event.error, now)
        if isinstance(event, StepScheduled):
            requests.add(instance.facts, instance.held, step, event.request)
        scheduled.append(event)
    return scheduled


def _begin_step(
    instance: WorkflowInstance, step: StepDefinition, now: datetime
) -> StepScheduled | StepSkipped | WorkflowFailed:
    """The first attempt of a step. It is skipped if its condition is false; the workflow fails if it has no input."""
    try:
        if step.when is not None and not step.when.evaluate(instance.document()):
            return StepSkipped(
                occurred_at=now, step_id=step.id, reason=f"not so: {step.when.source}"
            )
    except ExpressionError as fault:
        return _never_begun(step, "INPUT_MAPPING", str(fault), now)
    return _attempt(instance, step, now)


def _attempt(
    instance: WorkflowInstance, step: StepDefinition, now: datetime
) -> StepScheduled | WorkflowFailed:
    """The next attempt. The workflow fails if the step's request, or a later undo, could not be made or sent."""
    try:
        event = schedule_step(instance, step, now)
    except ExpressionError as fault:
        return _never_begun(step, "INPUT_MAPPING", str(fault), now)
    fault = attempt_fault(instance, step, event.request, now)
    return event if fault is None else _never_begun(step, TOO_LARGE, fault, now)


def retry_step(
    instance: WorkflowInstance, step: StepDefinition, now: datetime
) -> Sequence[DomainEvent]:
    """The next attempt, or the failure of the workflow if it cannot be sent."""
    event = _attempt(instance, step, now)
    return fail(instance, event.error, now) if isinstance(event, WorkflowFailed) else (event,)


def attempt_fault(
    instance: WorkflowInstance, step: StepDefinition, request: StepRequest, now: datetime
) -> str | None:
    """Why this attempt must not begin: its request or its undo would be too large."""
    if is_light(instance.held, step):
        return None
    size = request_bytes(instance.facts, request)
    if size > WEIGHT_MAX:
        return too_large(f"the input of {step.id}", size)
    return undo_fault(instance, step, now)


def _never_begun(step: StepDefinition, code: str, message: str, now: datetime) -> WorkflowFailed:
    error = WorkflowError(
        step_id=step.id,
        service_name=step.service,
        error_code=code,
        message=message,
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
    """The next attempt of a step, in a new round if it was compensated, sealed or patched (PROTOCOL rule 10).

    A step that was asked to seal also gets a new round: its service may have sealed it, whatever resolved the step
    in the end. All attempts of a round send the same input. Raises ExpressionError.
    """
    execution = instance.steps[step.id]
    was_sealed = execution.seal_attempt > 0 and not execution.performed
    new_round = was_sealed or execution.status is StepStatus.COMPENSATED or execution.may_be_renewed
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
        idempotency_key=str(StepKey(instance.id, step.id, round)),
        purpose=None,
        request=request,
    )


def fail(instance: WorkflowInstance, error: WorkflowError, now: datetime) -> Sequence[DomainEvent]:
    """Fail the workflow and start compensation in the same commit, unless it holds or is past a pivot (S-003-29).

    If the outcome of the pivot is unknown, it is resolved first, because it decides between going back and forward.
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
        detail = f"{error.message}; past its pivot the workflow can only go forward: retry it"
        code = IncidentCode.PAST_PIVOT
        return (failed, *raise_incident(instance, now, code, error.step_id, detail))
    return (failed,)


def _resolve(instance: WorkflowInstance, step_id: str, now: datetime) -> Sequence[DomainEvent]:
    """Wait for the running attempt or for the answer to the seal. Request the seal once no attempt runs."""
    execution = instance.steps[step_id]
    if execution.status is StepStatus.EXECUTING or execution.seal_attempt:
        return ()
    return (ask_seal(instance, instance.definition.step(step_id), now),)


def complete(instance: WorkflowInstance, now: datetime) -> Sequence[DomainEvent]:
    """Complete the workflow: every step is satisfied. If its output cannot be made, an incident is raised and the work
    stays done."""
    template = instance.definition.output
    output: Any = None
    incidents: tuple[IncidentRaised, ...] = ()
    try:
        output = _output(instance, template) if template is not None else None
    except ExpressionError as fault:
        incidents = raise_incident(instance, now, IncidentCode.OUTPUT_MAPPING, None, str(fault))
    completed = WorkflowCompleted(
        occurred_at=now, output=output, duration_ms=elapsed_ms(instance.started_at, now)
    )
    return (completed, *incidents)


def _output(instance: WorkflowInstance, template: Template) -> Any:
    """The workflow's output. Raises ExpressionError, also if the output is too large for a message."""
    output = template.render(instance.document())
    if not is_light_template(instance.held, template):
        size = json_bytes(output)
        if size > WEIGHT_MAX:
            raise ExpressionError(too_large("the output of the workflow", size))
    return output

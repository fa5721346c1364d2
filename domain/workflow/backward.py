"""Going back: seal the unresolved steps, then undo the completed ones, in reverse order of the dependency graph.

Undos run in parallel only where no dependency orders them.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from datetime import datetime
from typing import Any

from domain.aggregate.event import DomainEvent
from domain.aggregate.ids import StepKey
from domain.definition.definition import StepDefinition, StepKind, WorkflowDefinition
from domain.definition.expression import ExpressionError, Template
from domain.values import changed
from domain.workflow.commands import Purpose
from domain.workflow.events import (
    CompensationCompleted,
    CompensationStarted,
    StepCompensated,
    StepCompensationFailed,
    StepRequest,
    StepScheduled,
    StepSealed,
    WorkflowRetried,
)
from domain.workflow.failure import ErrorType
from domain.workflow.incident import IncidentCode
from domain.workflow.incident_lifecycle import raise_incident
from domain.workflow.instance import WorkflowInstance
from domain.workflow.sealing import ask_seal, close_read_only, seal_open_steps
from domain.workflow.status import CompensationStatus, StepStatus
from domain.workflow.step import StepExecution, deadline_after, elapsed_ms
from domain.workflow.weight import (
    REASON_CHARACTERS_MAX,
    WEIGHT_MAX,
    Requests,
    is_light,
    request_bytes,
    too_large,
)

#: Room for a step's status: a mapping may read it, and its text may get longer.
_STATUSES_BYTES = 8


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


def backward(
    instance: WorkflowInstance, now: datetime, requests: Requests
) -> Sequence[DomainEvent]:
    seals = _give_up_seals(instance, now) if instance.forced else seal_open_steps(instance, now)
    if seals:
        return seals
    failed = [
        step
        for step in instance.steps.values()
        if step.undo.status is CompensationStatus.FAILED and step.status is StepStatus.COMPENSATING
    ]
    if instance.forced:
        hurried = [*_take_as_undone(instance, failed, now), *_do_not_wait(instance, now, requests)]
        if hurried:
            return hurried
    if not failed:
        undos = _schedule_undos(
            instance,
            ((s, Purpose.UNDO) for s in instance.definition.steps if _may_be_undone(instance, s)),
            now,
            requests,
        )
        if undos:
            return undos
    if any(_is_busy(step) and instance.goes_back(step.step_id) for step in instance.steps.values()):
        return ()
    if instance.reset_to is not None and not failed:
        return (_go_on(instance, instance.reset_to, now),)
    return _end_compensation(instance, failed, now)


def _schedule_undos(
    instance: WorkflowInstance,
    attempts: Iterable[tuple[StepDefinition, Purpose]],
    now: datetime,
    requests: Requests,
) -> list[DomainEvent]:
    """The next attempts, as many as fit into one commit. The others follow when these are answered."""
    events: list[DomainEvent] = []
    for step, purpose in attempts:
        if requests.is_full:
            break
        event = schedule_undo(instance, step, now, purpose)
        if isinstance(event, StepScheduled):
            requests.add(instance.facts, instance.held, step, event.request)
        events.append(event)
    return events


def _may_be_undone(instance: WorkflowInstance, step: StepDefinition) -> bool:
    """Its undo may begin: it has not begun or may be repeated, and no dependent step is still done or unknown."""
    execution = instance.steps[step.id]
    return (
        execution.awaits_undo
        and step.compensation is not None
        and instance.goes_back(step.id)
        and all(
            _is_clear(instance.definition, instance.steps[dependent])
            for dependent in instance.definition.dependents[step.id]
        )
    )


def _is_clear(definition: WorkflowDefinition, execution: StepExecution) -> bool:
    if execution.unanswered or execution.status is StepStatus.COMPENSATING:
        return False
    return not execution.is_done or definition.compensation_of(execution.step_id) is None


def _is_busy(execution: StepExecution) -> bool:
    """It still waits for an answer or for one of its timers."""
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
) -> StepScheduled | StepCompensationFailed:
    """The next attempt of a step's undo, or of the check that the undo worked.

    If its request is too large for a message, the undo has failed for good. Then a person has to undo the step, and
    confirms it with force-compensate.
    """
    action = step.compensation
    assert action is not None
    execution = instance.steps[step.id]
    request = _undo_request(instance, step, now, purpose)
    size = request_bytes(instance.facts, request)
    if size > WEIGHT_MAX:
        return StepCompensationFailed(
            occurred_at=now,
            step_id=step.id,
            service_name=action.service_name,
            operation=request.operation,
            attempt=execution.undo.attempt,
            error_code="TOO_LARGE",
            error_type=ErrorType.VALIDATION_ERROR,
            message=too_large(f"the {purpose} of {step.id}", size),
            recoverable=False,
            will_retry=False,
        )
    return StepScheduled(
        occurred_at=now,
        step_id=step.id,
        service_name=action.service_name,
        operation=request.operation,
        attempt=request.attempt,
        round=execution.round,
        idempotency_key=str(StepKey(instance.id, step.id, execution.round, purpose=purpose.value)),
        purpose=purpose.value,
        request=request,
    )


def undo_fault(instance: WorkflowInstance, step: StepDefinition, now: datetime) -> str | None:
    """Why the request for the step's undo, or for its verification, is too large; None if both can be sent."""
    action = step.compensation
    if action is None or is_light(instance.held, step):
        return None
    purposes = (Purpose.UNDO,) if action.verify is None else (Purpose.UNDO, Purpose.VERIFY)
    for purpose in purposes:
        request = _undo_request(instance, step, now, purpose)
        size = request_bytes(instance.facts, request) + _STATUSES_BYTES * len(instance.steps)
        if size > WEIGHT_MAX:
            return too_large(f"the {purpose} of {step.id}", size)
    return None


def _undo_request(
    instance: WorkflowInstance, step: StepDefinition, now: datetime, purpose: Purpose
) -> StepRequest:
    """The request, with the step's output unless the mapped input contains it and the message would be too large."""
    action = step.compensation
    assert action is not None
    execution = instance.steps[step.id]
    verify = action.verify if purpose is Purpose.VERIFY else None
    template = verify.input if verify else action.input
    reason = instance.compensation_reason
    request = StepRequest(
        workflow_id=instance.id,
        step_id=step.id,
        service=action.service_name,
        operation=verify.operation if verify else action.operation,
        input=_render_undo(instance, template),
        context=instance.request_context(),
        attempt=execution.undo.attempt + 1,
        round=execution.round,
        deadline=deadline_after(now, step.timeout_ms),
        strategy=action.strategy.value,
        step_output=execution.output,
        snapshot=execution.snapshot,
        reason=reason[:REASON_CHARACTERS_MAX] if reason is not None else None,
    )
    if is_light(instance.held, step) or not template.carries(("steps", step.id, "output")):
        return request
    if request_bytes(instance.facts, request) <= WEIGHT_MAX:
        return request
    return changed(request, step_output=None)


def _render_undo(instance: WorkflowInstance, template: Template) -> Any:
    """A faulty mapping must not prevent an undo: the input is then empty, and the participant has `stepOutput`."""
    try:
        return template.render(instance.document())
    except ExpressionError:
        return {}


def _give_up_seals(instance: WorkflowInstance, now: datetime) -> list[DomainEvent]:
    """Forced: seal each open step without waiting for the answer, and raise an incident for it."""
    events: list[DomainEvent] = []
    for step in instance.steps.values():
        if not step.unanswered:
            continue
        if instance.definition.step(step.step_id).kind is StepKind.READ_ONLY:
            events.extend(close_read_only(instance, instance.definition.step(step.step_id), now))
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
        detail = f"{step.step_id} was given up without an answer; look at its service"
        code = IncidentCode.UNRESOLVED
        events.extend(raise_incident(instance, now, code, step.step_id, detail))
    return events


def _take_as_undone(
    instance: WorkflowInstance, failed: Sequence[StepExecution], now: datetime
) -> list[StepCompensated]:
    """Forced: a step that cannot be undone counts as undone, because the operator says so."""
    events: list[StepCompensated] = []
    for step in failed:
        action = instance.definition.compensation_of(step.step_id)
        assert action is not None
        events.append(
            StepCompensated(
                occurred_at=now,
                step_id=step.step_id,
                service_name=action.service_name,
                operation=action.operation,
                attempt=step.undo.attempt,
                execution_time_ms=0,
                forced=True,
            )
        )
    return events


def _do_not_wait(
    instance: WorkflowInstance, now: datetime, requests: Requests
) -> list[DomainEvent]:
    """Forced: an undo that waits for its retry is tried now, one last time."""
    waiting = (
        (
            instance.definition.step(step.step_id),
            Purpose.VERIFY if step.undo.verifying else Purpose.UNDO,
        )
        for step in instance.steps.values()
        if step.status is StepStatus.COMPENSATING and step.undo.next_attempt_at is not None
    )
    return _schedule_undos(instance, waiting, now, requests)


def _go_on(instance: WorkflowInstance, from_step: str, now: datetime) -> WorkflowRetried:
    """What the reset takes back is undone: forward again. An operator's repair is not counted as a retry."""
    return WorkflowRetried(
        occurred_at=now,
        retry_count=instance.retry_count,
        max_retries=instance.facts.max_retries,
        from_step_id=from_step,
        reason=instance.compensation_reason,
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
    incidents: list[DomainEvent] = []
    for step in failed:
        reason = step.undo.error.message if step.undo.error else ""
        detail = f"the undo of {step.step_id} failed: {reason}; compensate again or force it"
        code = IncidentCode.COMPENSATION_FAILED
        incidents.extend(raise_incident(instance, now, code, step.step_id, detail))
    return (ended, *incidents)

"""Sealing: ask whether an unanswered attempt was performed, and forbid it if it was not (PROTOCOL rule 1)."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime, timedelta
from typing import Final

from domain.aggregate.event import DomainEvent
from domain.definition.definition import StepDefinition, StepKind
from domain.definition.retry import RetryPolicy
from domain.workflow.events import (
    SealRequest,
    StepFailed,
    StepSealed,
    StepUnresolved,
)
from domain.workflow.failure import ErrorType
from domain.workflow.incident import IncidentCode
from domain.workflow.incident_lifecycle import raise_incident
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import StepStatus

#: A seal request is repeated without limit: after 1 s, then doubling up to 5 min. The step's policy does not apply.
_BACK_OFF: Final = RetryPolicy(initial_delay_ms=1000, max_delay_ms=300_000)
#: Unanswered seal requests that raise an incident.
UNANSWERED_MAX: Final = 5


def ask_seal(instance: WorkflowInstance, step: StepDefinition, now: datetime) -> StepUnresolved:
    """Ask the step's service to seal it."""
    execution = instance.steps[step.id]
    attempt = execution.seal_attempt + 1
    return StepUnresolved(
        occurred_at=now,
        step_id=step.id,
        service_name=step.service,
        round=execution.round,
        attempts=execution.unanswered,
        seal_attempt=attempt,
        next_seal_at=now + timedelta(milliseconds=_BACK_OFF.calculate_delay(attempt - 1)),
        idempotency_key=execution.key(instance.id),
        request=SealRequest(
            workflow_id=instance.id,
            step_id=step.id,
            service=step.service,
            operation=step.operation,
            round=execution.round,
            context=instance.request_context(),
        ),
    )


def ask_seal_again(
    instance: WorkflowInstance, step: StepDefinition, now: datetime
) -> Sequence[DomainEvent]:
    """The service has not answered in time: ask again. After five requests, raise one incident."""
    if step.kind is StepKind.READ_ONLY:
        return close_read_only(instance, step, now)
    asked = ask_seal(instance, step, now)
    if asked.seal_attempt <= UNANSWERED_MAX:
        return (asked,)
    detail = (
        f"{step.service} was asked {UNANSWERED_MAX} times whether it performed {step.id} and does not answer:"
        " check that the name of the service is right, and that a participant of it is running"
    )
    return (
        asked,
        *raise_incident(instance, now, IncidentCode.SEAL_UNANSWERED, step.id, detail),
    )


def seal_open_steps(instance: WorkflowInstance, now: datetime) -> list[DomainEvent]:
    """Seal requests for every step that has an unanswered attempt and was not asked to seal yet."""
    events: list[DomainEvent] = []
    for step in instance.definition.steps:
        execution = instance.steps[step.id]
        if not execution.unanswered or not instance.goes_back(step.id):
            continue
        if step.kind is StepKind.READ_ONLY:
            events.extend(close_read_only(instance, step, now))
        elif not execution.seal_attempt:
            events.append(ask_seal(instance, step, now))
    return events


def close_read_only(
    instance: WorkflowInstance, step: StepDefinition, now: datetime
) -> Sequence[DomainEvent]:
    """Close the open attempts of a read-only step, which needs no seal because it changes nothing (PROTOCOL rule 1)."""
    execution = instance.steps[step.id]
    if execution.status is not StepStatus.EXECUTING:
        # Older versions left the attempts of read-only steps open.
        return (
            StepSealed(occurred_at=now, step_id=step.id, round=execution.round, performed=False),
        )
    return (
        StepFailed(
            occurred_at=now,
            step_id=step.id,
            service_name=step.service,
            operation=step.operation,
            attempt=execution.attempt,
            round=execution.round,
            error_code="CANCELLED",
            error_type=ErrorType.UNKNOWN,
            message="the workflow does not need its answer any more",
            recoverable=False,
            will_retry=False,
            answered=True,
        ),
    )

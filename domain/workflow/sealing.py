"""Sealing: was an unanswered attempt performed? If not, it never will be (PROTOCOL rule 1)."""

from __future__ import annotations

from datetime import datetime

from domain.aggregate.event import DomainEvent
from domain.definition.definition import StepDefinition
from domain.workflow.events import SealRequest, StepUnresolved
from domain.workflow.instance import WorkflowInstance


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

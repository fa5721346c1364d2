"""Raising incidents, and resolving them when their cause is gone."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from datetime import datetime

from domain.aggregate.rejection import RejectionCode
from domain.workflow.events import IncidentRaised, IncidentResolved
from domain.workflow.incident import Incident, IncidentCode
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import StepStatus, WorkflowStatus


def raise_incident(
    instance: WorkflowInstance,
    now: datetime,
    code: IncidentCode,
    step_id: str | None,
    detail: str,
) -> tuple[IncidentRaised, ...]:
    """The event that raises it; none while it is open already."""
    if instance.open_incident(code, step_id) is not None:
        return ()
    return (IncidentRaised(occurred_at=now, step_id=step_id, code=code.value, detail=detail),)


def resolve_incidents(instance: WorkflowInstance, now: datetime) -> Sequence[IncidentResolved]:
    """Those of the open incidents that have passed."""
    resolved: list[IncidentResolved] = []
    for incident in instance.incidents:
        passes = _PASSES.get(incident.code)
        resolution = passes(instance, incident) if passes is not None else None
        if resolution is not None:
            resolved.append(
                IncidentResolved(
                    occurred_at=now,
                    step_id=incident.step_id,
                    code=incident.code,
                    resolution=resolution,
                )
            )
    return resolved


def _undone(instance: WorkflowInstance, incident: Incident) -> str | None:
    step = instance.steps[incident.step_id or ""]
    return "the step is COMPENSATED" if step.status is StepStatus.COMPENSATED else None


def _answered(instance: WorkflowInstance, incident: Incident) -> str | None:
    step = instance.steps[incident.step_id or ""]
    if step.unanswered and step.seal_attempt:
        return None
    if step.status is StepStatus.EXECUTING:
        return "the step is tried again"
    return "given up by force" if instance.forced else "its service has answered"


def _succeeded(instance: WorkflowInstance, incident: Incident) -> str | None:
    step = instance.steps[incident.step_id or ""]
    if step.status is StepStatus.COMPLETED:
        return "the step is done"
    is_under_way = instance.status in (WorkflowStatus.EXECUTING, WorkflowStatus.PAUSED)
    return None if is_under_way else f"the workflow is {instance.status}"


def _went_on(instance: WorkflowInstance, _: Incident) -> str | None:
    if instance.status is WorkflowStatus.FAILED:
        return None
    if instance.status is WorkflowStatus.EXECUTING:
        return "it is EXECUTING again"
    return f"the workflow is {instance.status}"


def _output_not_needed(instance: WorkflowInstance, _: Incident) -> str | None:
    return None if instance.status is WorkflowStatus.COMPLETED else "the workflow is undone"


def _ended(instance: WorkflowInstance, incident: Incident) -> str | None:
    """It did no harm to a workflow that came to its end; what happened after the end is another matter."""
    end = instance.completed_at
    has_ended = instance.is_terminal and not instance.unresolved
    if not has_ended or end is None or incident.raised_at > end:
        return None
    return f"the workflow ended {instance.status}"


#: Why an incident has passed, by its code; None: it stands. Those that are not here stand for good.
_PASSES: dict[str, Callable[[WorkflowInstance, Incident], str | None]] = {
    IncidentCode.COMPENSATION_FAILED: _undone,
    IncidentCode.OUTPUT_MAPPING: _output_not_needed,
    IncidentCode.PAST_PIVOT: _went_on,
    IncidentCode.SEAL_UNANSWERED: _answered,
    IncidentCode.STILL_FAILING: _succeeded,
    RejectionCode.INTERNAL: _ended,
    RejectionCode.TOO_LARGE: _ended,
}

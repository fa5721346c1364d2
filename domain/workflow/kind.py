"""The workflow as a kind of aggregate."""

from __future__ import annotations

from datetime import datetime

from domain.aggregate.event import DomainEvent
from domain.aggregate.kind import Kind, Standing
from domain.workflow.commands import (
    CompleteStep,
    ExecuteStep,
    HandleSealAnswer,
    HandleStepReply,
    PatchWorkflow,
    SignalWorkflow,
    StartWorkflow,
)
from domain.workflow.decide import decide
from domain.workflow.events import WORKFLOW_EVENTS, IncidentRaised
from domain.workflow.evolve import evolve
from domain.workflow.instance import WorkflowInstance
from domain.workflow.timers import next_due, timers_of


def _is_done(instance: WorkflowInstance) -> bool:
    """Ended for good. A FAILED instance stays in memory, because an operator will probably act on it."""
    return instance.status.is_terminal and not instance.unresolved


def _standing(instance: WorkflowInstance) -> Standing:
    return Standing(instance.status.value, instance.allowed_commands)


def _incident(at: datetime, code: str, detail: str) -> DomainEvent:
    return IncidentRaised(occurred_at=at, step_id=None, code=code, detail=detail)


WORKFLOW: Kind[WorkflowInstance] = Kind(
    name="workflow",
    prefix="",
    events=WORKFLOW_EVENTS,
    creating=frozenset({StartWorkflow}),
    bringing_data=frozenset(
        {
            StartWorkflow,
            SignalWorkflow,
            PatchWorkflow,
            ExecuteStep,
            CompleteStep,
            HandleStepReply,
            HandleSealAnswer,
        }
    ),
    decide=decide,
    evolve=evolve,
    timers=timers_of,
    next_due=next_due,
    is_done=_is_done,
    standing=_standing,
    incident=_incident,
)

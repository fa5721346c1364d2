"""Nothing that can happen is without its name, its handler and its effect on the state."""

from __future__ import annotations

from typing import get_args

import pytest

from domain.aggregate.event import DomainEvent
from domain.load.events import SystemLoadRebalanced
from domain.workflow import decide as deciding
from domain.workflow import events
from domain.workflow import evolve as evolving
from domain.workflow.commands import Command, StartWorkflow
from domain.workflow.events import (
    REQUIRED_EVENTS,
    WORKFLOW_EVENTS,
    WorkflowAccepted,
    WorkflowPaused,
)
from domain.workflow.evolve import HistoryError, evolve
from tests.domain.definitions import chain
from tests.domain.sagas import T0, Saga

REQUIRED_NAMES = {
    "WorkflowStartedEvent": "orchestration.workflow.started",
    "WorkflowCompletedEvent": "orchestration.workflow.completed",
    "WorkflowFailedEvent": "orchestration.workflow.failed",
    "WorkflowPausedEvent": "orchestration.workflow.paused",
    "WorkflowResumedEvent": "orchestration.workflow.resumed",
    "WorkflowCancelledEvent": "orchestration.workflow.cancelled",
    "WorkflowRetryEvent": "orchestration.workflow.retried",
    "WorkflowStepExecutedEvent": "orchestration.workflow.step.executed",
    "WorkflowStepFailedEvent": "orchestration.workflow.step.failed",
    "WorkflowCompensationStartedEvent": "orchestration.workflow.compensation.started",
    "WorkflowCompensationCompletedEvent": "orchestration.workflow.compensation.completed",
    "SystemLoadRebalancedEvent": "orchestration.system.load.rebalanced",
    "WavelessProcessingEnabledEvent": "orchestration.waveless.enabled",
}


def test_the_thirteen_names_exist() -> None:
    """The events that the requirements name exist under these names and types, and no other."""
    assert {event.NAME: event.TYPE for event in REQUIRED_EVENTS} == REQUIRED_NAMES


def test_every_event_class_is_listed_once() -> None:
    """Each concrete event of the module is an event of a workflow, or of the system."""
    classes = [named for named in vars(events).values() if isinstance(named, type)]
    concrete = {c for c in classes if issubclass(c, DomainEvent) and c is not DomainEvent}

    assert concrete == {*WORKFLOW_EVENTS, SystemLoadRebalanced}
    assert len(WORKFLOW_EVENTS) == len(set(WORKFLOW_EVENTS))
    for attribute in ("NAME", "TYPE"):
        assert len({getattr(event, attribute) for event in concrete}) == len(concrete)


@pytest.mark.parametrize("event", WORKFLOW_EVENTS)
def test_every_event_has_its_branch(event: type[DomainEvent]) -> None:
    """Each event of a workflow is applied: to begin one, or to one that has begun."""
    assert event is WorkflowAccepted or event in evolving._APPLY


@pytest.mark.parametrize("event", [e for e in WORKFLOW_EVENTS if e not in REQUIRED_EVENTS])
def test_the_names_of_the_finer_events(event: type[DomainEvent]) -> None:
    """A finer event is named by its type's parts after `orchestration.`, in CamelCase."""
    parts = event.TYPE.removeprefix("orchestration.").replace("-", ".").split(".")

    assert "".join(part.capitalize() for part in parts) + "Event" == event.NAME


def test_every_command_has_its_handler() -> None:
    """Each command is decided; the start alone needs no workflow."""
    assert set(get_args(Command)) == {StartWorkflow, *deciding._HANDLERS}


def test_a_history_begins_with_a_beginning() -> None:
    """No event but accepted and started makes a workflow."""
    with pytest.raises(HistoryError, match="paused before the workflow began"):
        evolve(None, WorkflowPaused(occurred_at=T0))


def test_an_event_of_another_aggregate_is_no_part_of_a_history() -> None:
    """The system's events, and a second acceptance, are refused loudly."""
    saga = Saga(chain("reserve")).starts()
    strange = (
        events.SystemLoadRebalanced(
            occurred_at=T0, trigger="RULE", before={}, target_loads={}, moved=0
        ),
        WorkflowAccepted(occurred_at=T0, facts=saga.instance.facts),
    )

    for event in strange:
        with pytest.raises(HistoryError, match="not an event of a running workflow"):
            evolve(saga.instance, event)

"""Every pair of statuses, of workflows and of steps: legal or refused."""

from __future__ import annotations

import itertools

import pytest

from domain.definition.definition import WorkflowType
from domain.workflow.status import (
    STEP_TRANSITIONS,
    WORKFLOW_TRANSITIONS,
    IllegalTransition,
    StepStatus,
    WorkflowPriority,
    WorkflowStatus,
    checked,
    checked_step,
)

WORKFLOW = {
    "PENDING": "EXECUTING CANCELLED",
    "EXECUTING": "COMPLETED PAUSED FAILED CANCELLED",
    "PAUSED": "EXECUTING CANCELLED COMPENSATING",
    "COMPLETED": "COMPENSATING",
    "FAILED": "EXECUTING COMPENSATING",
    "COMPENSATING": "COMPENSATED FAILED EXECUTING",
    "COMPENSATED": "",
    "CANCELLED": "COMPENSATING",
}
STEP = {
    "PENDING": "EXECUTING SKIPPED",
    "EXECUTING": "COMPLETED FAILED",
    "COMPLETED": "COMPENSATING COMPENSATED",
    "FAILED": "EXECUTING COMPLETED COMPENSATING SKIPPED",
    "COMPENSATING": "COMPENSATED",
    "COMPENSATED": "EXECUTING",
    "SKIPPED": "",
}


def test_the_statuses_are_those_of_the_requirements() -> None:
    """A workflow has eight statuses and a step seven, each with a row of transitions."""
    assert list(WorkflowStatus) == list(WORKFLOW) == list(WORKFLOW_TRANSITIONS)
    assert set(StepStatus) == set(STEP) == set(STEP_TRANSITIONS)


@pytest.mark.parametrize(("current", "target"), list(itertools.product(WorkflowStatus, repeat=2)))
def test_workflow_transition(current: WorkflowStatus, target: WorkflowStatus) -> None:
    """A workflow goes only where the table of its lifecycle lets it."""
    if target in WORKFLOW[current].split():
        assert checked(current, target) is target
    else:
        with pytest.raises(IllegalTransition, match=f"workflow: {current} -> {target}"):
            checked(current, target)


@pytest.mark.parametrize(("current", "target"), list(itertools.product(StepStatus, repeat=2)))
def test_step_transition(current: StepStatus, target: StepStatus) -> None:
    """A step goes only where the table of its lifecycle lets it."""
    if target in STEP[current].split():
        assert checked_step(current, target) is target
    else:
        with pytest.raises(IllegalTransition, match=f"step: {current} -> {target}"):
            checked_step(current, target)


def test_terminal_and_active() -> None:
    """No status is both terminal and active; FAILED, where an operator decides, is neither."""
    terminal = {status for status in WorkflowStatus if status.is_terminal}
    active = {status for status in WorkflowStatus if status.is_active}

    assert terminal == {"COMPLETED", "COMPENSATED", "CANCELLED"}
    assert active == {"PENDING", "EXECUTING", "PAUSED", "COMPENSATING"}


def test_satisfied() -> None:
    """Dependents may run behind a completed and behind a skipped step, and no other."""
    assert {status for status in StepStatus if status.is_satisfied} == {"COMPLETED", "SKIPPED"}


def test_priorities_are_ordered() -> None:
    """HIGH comes before NORMAL before LOW."""
    asked = [WorkflowPriority.LOW, WorkflowPriority.NORMAL, WorkflowPriority.HIGH]

    assert sorted(asked, key=lambda priority: priority.rank) == ["HIGH", "NORMAL", "LOW"]


def test_only_order_fulfillment_supports_waveless() -> None:
    """ORDER_FULFILLMENT is the type that may be released without waves; the others are not."""
    assert WorkflowType("ORDER_FULFILLMENT").supports_waveless
    assert not WorkflowType("RETURNS").supports_waveless

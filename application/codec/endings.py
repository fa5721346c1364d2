"""Which published events end a workflow."""

from __future__ import annotations

from collections.abc import Callable, Mapping

from application.ports import Document
from domain.workflow.events import (
    CompensationCompleted,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
)
from domain.workflow.status import WorkflowStatus


def _unless_undone(status: WorkflowStatus) -> Callable[[Document], WorkflowStatus | None]:
    return lambda data: None if data["willCompensate"] else status


def _of_compensation(data: Document) -> WorkflowStatus:
    return WorkflowStatus.COMPENSATED if data["success"] else WorkflowStatus.FAILED


_STATUS: Mapping[str, Callable[[Document], WorkflowStatus | None]] = {
    WorkflowCompleted.TYPE: lambda _: WorkflowStatus.COMPLETED,
    WorkflowFailed.TYPE: _unless_undone(WorkflowStatus.FAILED),
    WorkflowCancelled.TYPE: _unless_undone(WorkflowStatus.CANCELLED),
    CompensationCompleted.TYPE: _of_compensation,
}

#: Types of the events after which a workflow may have ended.
MAY_END = _STATUS.keys()


def status_at_end(event_type: str, data: Document) -> WorkflowStatus | None:
    """The workflow's status after this event of `MAY_END`; None if the workflow continues by itself."""
    return _STATUS[event_type](data)

"""Reports what happens as Prometheus metrics and log lines (CONTRACT 1)."""

from __future__ import annotations

import logging
from collections.abc import Sequence
from typing import Any

import structlog
from prometheus_client import CollectorRegistry, Counter, Histogram

from application.codec.endings import MAY_END, status_at_end
from application.codec.times import parse_time
from application.ports import Document, RecordedEvent
from domain.aggregate.event import CommandRejected
from domain.aggregate.kind import State
from domain.workflow.events import (
    CompensationCompleted,
    CompensationStarted,
    IncidentRaised,
    IncidentResolved,
    StepCompensated,
    StepExecuted,
    StepFailed,
    WorkflowCancelled,
    WorkflowCompleted,
    WorkflowFailed,
    WorkflowStarted,
)
from domain.workflow.failure import ErrorType
from domain.workflow.instance import WorkflowInstance
from domain.workflow.status import WorkflowStatus

_LABELS = ("definition", "type")
_BUCKETS = (0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60, 300, 1800)


class EngineTelemetry:
    """Metrics and logs of one engine; labels are definition and type, never ids."""

    def __init__(self, registry: CollectorRegistry) -> None:
        def counter(name: str, text: str, labels: Sequence[str] = _LABELS) -> Counter:
            return Counter(name, text, labels, registry=registry)

        self._started = counter("workflow_executions_started", "Workflows started")
        self._completed = counter("workflow_executions_completed", "Workflows completed")
        self._failed = counter("workflow_executions_failed", "Workflows failed, time-outs included")
        self._timeout = counter("workflow_executions_timeout", "Workflows that timed out")
        self._compensated = counter("workflow_executions_compensated", "Workflows undone")
        self._steps = counter("workflow_steps", "Step attempts by result", (*_LABELS, "result"))
        self._incidents = counter(
            "conveyor_incidents", "Incidents that somebody has to look at", (*_LABELS, "code")
        )
        self._rejected = counter("workflow_commands_rejected", "Refused commands", ("code",))
        self._counted = counter("workflow_engine_events", "What else the engine met", ("what",))
        self._duration = Histogram(
            "workflow_execution_duration_seconds",
            "From start to an end, by the status there",
            (*_LABELS, "status"),
            buckets=_BUCKETS,
            registry=registry,
        )
        self._log = structlog.get_logger("WorkflowEngine")
        #: Whether lines are written at all, since most of their cost is building them.
        self._writes = self._log.is_enabled_for(logging.INFO)
        self._children: dict[tuple[Any, ...], Any] = {}
        self._tell = {
            WorkflowStarted.TYPE: self._on_started,
            WorkflowCompleted.TYPE: self._on_completed,
            WorkflowFailed.TYPE: self._on_failed,
            WorkflowCancelled.TYPE: self._on_cancelled,
            StepFailed.TYPE: self._on_step_failed,
            StepCompensated.TYPE: self._on_step_compensated,
            CompensationStarted.TYPE: self._on_compensation_started,
            CompensationCompleted.TYPE: self._on_compensation_completed,
            CommandRejected.TYPE: self._on_rejected,
            IncidentRaised.TYPE: self._on_incident,
            IncidentResolved.TYPE: self._on_incident_resolved,
        }

    def _bound(self, metric: Any, *labels: str) -> Any:
        """The metric for these labels, cached because the client library's look-up costs more than counting."""
        key = (metric, *labels)
        child = self._children.get(key)
        if child is None:
            child = self._children[key] = metric.labels(*labels)
        return child

    def recorded(self, events: Sequence[RecordedEvent], state: State) -> None:
        for event in events:
            if event.type == StepExecuted.TYPE and isinstance(state, WorkflowInstance):
                self._on_executed(event, state)
                continue
            tell = self._tell.get(event.type)
            if tell is None:
                continue
            data = event.data
            tell(data)
            if event.type in MAY_END and isinstance(state, WorkflowInstance):
                self._on_end(data, status_at_end(event.type, data), state)

    def counted(self, what: str, amount: int = 1) -> None:
        self._counted.labels(what).inc(amount)

    def _on_end(
        self, data: Document, status: WorkflowStatus | None, instance: WorkflowInstance
    ) -> None:
        """Called at each end; it need not be the last one, because an operator may retry or compensate."""
        if status is not None and instance.started_at is not None:
            took = parse_time(data["occurredAt"]) - instance.started_at
            labels = (data["definition"], data["workflowType"], status)
            self._bound(self._duration, *labels).observe(took.total_seconds())

    # One method per event that people look for ---------------------------------------------------

    def _on_started(self, data: Document) -> None:
        self._bound(self._started, data["definition"], data["workflowType"]).inc()
        self._line(
            f"Starting workflow: {data['definition']} (execution: {data['aggregateId']})", data
        )

    def _on_completed(self, data: Document) -> None:
        labels = (data["definition"], data["workflowType"])
        self._bound(self._completed, *labels).inc()
        text = f"Workflow completed successfully: {labels[0]} (execution: {data['aggregateId']})"
        ended = _ended(WorkflowCompleted.TYPE, data)
        self._line(text, data, **ended, durationMs=data["durationMs"])

    def _on_failed(self, data: Document) -> None:
        labels = (data["definition"], data["workflowType"])
        self._bound(self._failed, *labels).inc()
        if data["error"]["errorType"] == ErrorType.TIMEOUT:
            self._bound(self._timeout, *labels).inc()
        text = f"Workflow failed: {labels[0]} (execution: {data['aggregateId']})"
        ended = _ended(WorkflowFailed.TYPE, data)
        more = {"error": data["error"], "willCompensate": data["willCompensate"]}
        self._line(text, data, **ended, **more)

    def _on_cancelled(self, data: Document) -> None:
        ended = _ended(WorkflowCancelled.TYPE, data)
        self._line("Workflow cancelled", data, **ended, reason=data.get("reason"))

    def _on_executed(self, event: RecordedEvent, instance: WorkflowInstance) -> None:
        """The most frequent one: reading its data takes longer than counting it."""
        definition = instance.definition
        self._bound(self._steps, definition.name, definition.type, "completed").inc()
        if self._writes:
            self._step_line("Step executed", event.data)

    def _on_step_failed(self, data: Document) -> None:
        self._bound(self._steps, data["definition"], data["workflowType"], "failed").inc()
        self._step_line(
            "Step failed", data, errorCode=data["errorCode"], willRetry=data["willRetry"]
        )

    def _on_step_compensated(self, data: Document) -> None:
        self._bound(self._steps, data["definition"], data["workflowType"], "compensated").inc()
        self._step_line("Step compensated", data)

    def _on_compensation_started(self, data: Document) -> None:
        self._line("Compensation started", data, trigger=data["trigger"])

    def _on_compensation_completed(self, data: Document) -> None:
        if data["success"]:
            self._bound(self._compensated, data["definition"], data["workflowType"]).inc()
        more = {"undone": data["compensatedSteps"], "durationMs": data["durationMs"]}
        ended = _ended(CompensationCompleted.TYPE, data)
        self._line("Compensation completed", data, **ended, **more)

    def _on_rejected(self, data: Document) -> None:
        self._bound(self._rejected, data["code"]).inc()
        self._line("Command rejected", data, code=data["code"], detail=data["detail"])

    def _on_incident(self, data: Document) -> None:
        labels = (data["definition"], data["workflowType"], data["code"])
        self._bound(self._incidents, *labels).inc()
        self._log.warning(
            f"Incident {data['code']}: {labels[0]} (execution: {data['aggregateId']})",
            workflowId=data["aggregateId"],
            stepId=data.get("stepId"),
            code=data["code"],
            detail=data["detail"],
            action=f"conveyor workflow show {data['aggregateId']}",
        )

    def _on_incident_resolved(self, data: Document) -> None:
        text = f"Incident {data['code']} resolved: {data['definition']} (execution: {data['aggregateId']})"
        self._line(text, data, stepId=data.get("stepId"), resolution=data["resolution"])

    def _step_line(self, text: str, data: Document, **more: Any) -> None:
        self._line(text, data, stepId=data["stepId"], attempt=data["attempt"], **more)

    def _line(self, text: str, data: Document, **more: Any) -> None:
        if not self._writes:
            return
        self._log.info(
            text,
            workflowId=data["aggregateId"],
            correlationId=data.get("correlationId"),
            version=data["version"],
            **more,
        )


def _ended(event_type: str, data: Document) -> Document:
    """The text about a workflow that does not continue by itself."""
    status = status_at_end(event_type, data)
    return {} if status is None else {"definition": data["definition"], "status": str(status)}

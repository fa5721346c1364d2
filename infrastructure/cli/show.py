"""`conveyor workflow show`: a readable view of a workflow with its steps, outputs and errors."""

from __future__ import annotations

from collections.abc import Sequence
from datetime import datetime
from typing import Any

from domain.workflow.status import StepStatus
from infrastructure.cli.client import HEALTH, Json, call, glance, workflow_path
from infrastructure.cli.options import DEFAULT_URL, Form, Output, Url, WorkflowId
from infrastructure.cli.output import write_fields, write_json, write_table

_WAITING = (StepStatus.EXECUTING, StepStatus.COMPENSATING)
_GLANCE_SECONDS = 1.0


def show(id: WorkflowId, url: Url = DEFAULT_URL, output: Output = Form.TABLE) -> None:
    """A workflow with its steps, their outputs and its errors."""
    workflow = call(url, workflow_path(id), "id", "status", "steps")
    if output is Form.JSON:
        write_json(workflow)
        return
    write_fields(_fields(workflow) | _unread(url, workflow))
    columns = ("STEP", "STATUS", "ATTEMPT", "TOOK", "OPERATION", "UNDO", "RESULT")
    rows = [_step_row(step) for step in workflow["steps"]]
    write_table(columns, rows, folded={"RESULT"}, spare=("OPERATION", "UNDO", "ATTEMPT", "TOOK"))


def _fields(workflow: Json) -> Json:
    """The fields worth showing: no defaults, and nothing that the steps show."""
    ended: str | None = workflow["completedAt"]
    took = f" after {took_between(workflow['startedAt'], ended)}" if ended else ""
    fields: Json = {
        "workflow": workflow["id"],
        "status": workflow["status"],
        "definition": f"{workflow['definition']}, version {workflow['definitionVersion']}",
        "started": f"{workflow['startedAt']} by {workflow['triggeredBy']}",
        "ended": f"{ended}{took}" if ended else None,
        "cancelled": workflow["cancelReason"],
        "correlation id": _unless(workflow["correlationId"], workflow["id"]),
        "user": workflow["userId"],
        "wallet": workflow["wallet"],
        "labels": workflow["labels"],
        "priority": _unless(workflow["priority"], "NORMAL"),
        "undo": _unless(workflow["compensationStatus"], "NONE", "COMPLETED"),
        "retries": f"{workflow['retryCount']} of {workflow['maxRetries']}"
        if workflow["retryCount"]
        else None,
        "unresolved": ", ".join(workflow["unresolved"]),
        "input": workflow["inputParameters"],
        "output": workflow["output"],
    }
    fields |= _numbered("incident", [_incident(each) for each in workflow["incidents"]])
    fields |= error_fields(workflow["errors"])
    fields["possible now"] = ", ".join(workflow["allowedCommands"])
    return fields


def error_fields(errors: Sequence[Json]) -> Json:
    """A line for each error of a workflow."""
    return _numbered("error", [_error(error) for error in errors])


def _numbered(name: str, lines: Sequence[str]) -> Json:
    return {name if n == 1 else f"{name} {n}": line for n, line in enumerate(lines, start=1)}


def _unread(url: str, workflow: Json) -> Json:
    """The services that the workflow waits for whose requests were never read."""
    waiting = {
        step["serviceName"]
        for step in workflow["steps"]
        if step["status"] in _WAITING or step["stepId"] in workflow["unresolved"]
    }
    if not waiting:
        return {}
    # Health waits for servers that are away; the workflow does not.
    services: Json = glance(url, HEALTH, _GLANCE_SECONDS).get("services") or {}
    found = {name: services[name] for name in sorted(waiting & services.keys())}
    return {
        f"waits for {name}": service["detail"]
        for name, service in found.items()
        if service["status"] == "UNREAD"
    }


def _unless(value: Any, *usual: Any) -> Any:
    return None if value in usual else value


def _incident(incident: Json) -> str:
    step = f"{incident['stepId']}: " if incident["stepId"] else ""
    return f"{step}{incident['code']} since {incident['raisedAt']}: {incident['detail']}"


def _error(error: Json) -> str:
    step = f"{error['stepId']}, attempt {error['attempt']}: " if error.get("stepId") else ""
    return f"{step}{error['errorCode']}: {error['message']} ({error['errorType']})"


def _step_row(step: Json) -> list[Any]:
    undo: Json = step["compensationAction"] or {}
    error: Json | None = step["error"]
    return [
        step["stepId"],
        step["status"],
        step["attempt"] or None,
        took_between(step["scheduledAt"], step["completedAt"]),
        f"{step['serviceName']}.{step['operation']}",
        _unless(undo.get("status"), "NONE"),
        step["output"] if error is None else f"{error['errorCode']}: {error['message']}",
    ]


def took_between(begin: str | None, end: str | None) -> str | None:
    """The time between the two as the engine saw it: of the handler and of the messages."""
    if begin is None or end is None:
        return None
    seconds = (datetime.fromisoformat(end) - datetime.fromisoformat(begin)).total_seconds()
    if seconds < 1:
        return f"{seconds * 1000:.0f} ms"
    if seconds < 120:
        return f"{seconds:.1f} s"
    minutes, rest = divmod(round(seconds), 60)
    hours, minutes = divmod(minutes, 60)
    return f"{hours} h {minutes} min" if hours else f"{minutes} min {rest} s"

"""`conveyor workflow show`: a workflow as people look at it, with its steps, outputs and errors."""

from __future__ import annotations

from datetime import datetime
from typing import Any

from infrastructure.cli.client import Json, call, workflow_path
from infrastructure.cli.options import DEFAULT_URL, Form, Output, Url, WorkflowId
from infrastructure.cli.output import write_fields, write_json, write_table


def show(id: WorkflowId, url: Url = DEFAULT_URL, output: Output = Form.TABLE) -> None:
    """A workflow with its steps, their outputs and its errors."""
    workflow = call(url, workflow_path(id), "id", "status", "steps")
    if output is Form.JSON:
        write_json(workflow)
        return
    write_fields(_fields(workflow))
    columns = ("STEP", "STATUS", "ATTEMPT", "TOOK", "OPERATION", "UNDO", "RESULT")
    rows = [_step_row(step) for step in workflow["steps"]]
    write_table(columns, rows, folded={"RESULT"}, spare=("OPERATION", "UNDO", "ATTEMPT", "TOOK"))


def _fields(workflow: Json) -> Json:
    """What is worth a line: no defaults, nothing that the steps say."""
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
    for number, error in enumerate(workflow["errors"], start=1):
        fields["error" if number == 1 else f"error {number}"] = _error(error)
    fields["possible now"] = ", ".join(workflow["allowedCommands"])
    return fields


def _unless(value: Any, *usual: Any) -> Any:
    return None if value in usual else value


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
    """The time from one to the other, as the engine saw it: the handler's and that of the messages."""
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

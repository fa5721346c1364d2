"""`conveyor workflow pause`, `cancel`, `signal` and the like: commands on one workflow."""

from __future__ import annotations

from typing import Annotated

import typer

from infrastructure.cli.client import ADMIN, Json, document_of, request, workflow_path
from infrastructure.cli.inputs import read_input
from infrastructure.cli.options import DEFAULT_URL, Form, Output, Url, WorkflowId
from infrastructure.cli.output import note, write

Reason = Annotated[str | None, typer.Option(help="Recorded in the history.")]


def pause(
    id: WorkflowId, reason: Reason = None, url: Url = DEFAULT_URL, output: Output = Form.TABLE
) -> None:
    """Start no further steps until the workflow is resumed."""
    _put(url, id, "pause", {"reason": reason}, output)


def resume(
    id: WorkflowId, reason: Reason = None, url: Url = DEFAULT_URL, output: Output = Form.TABLE
) -> None:
    """Continue a paused workflow."""
    _put(url, id, "resume", {"reason": reason}, output)


def cancel(
    id: WorkflowId,
    reason: Reason = None,
    compensate: Annotated[
        bool | None,
        typer.Option(
            "--compensate/--leave",
            help="Undo what was done, or leave it. Default: as the definition says.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Cancel a workflow that has not ended."""
    _put(url, id, "cancel", {"reason": reason, "compensate": compensate}, output)


def retry(
    id: WorkflowId, reason: Reason = None, url: Url = DEFAULT_URL, output: Output = Form.TABLE
) -> None:
    """Run a failed workflow again, from the step that failed."""
    _put(url, id, "retry", {"reason": reason}, output)


def compensate(
    id: WorkflowId, reason: Reason = None, url: Url = DEFAULT_URL, output: Output = Form.TABLE
) -> None:
    """Undo the steps of a completed or failed workflow."""
    _put(url, id, "compensate", {"reason": reason}, output)


def force_compensate(
    id: WorkflowId, reason: Reason = None, url: Url = DEFAULT_URL, output: Output = Form.TABLE
) -> None:
    """Undo what can be undone, and declare the rest undone."""
    path = workflow_path(id, "force-compensate", below=ADMIN)
    _send(url, "POST", path, {"reason": reason}, output)


def signal(
    id: WorkflowId,
    name: Annotated[str, typer.Argument(help="The name under which steps read it.")],
    payload: Annotated[
        str | None, typer.Option("--payload", "-p", help="JSON, @FILE, or - for stdin.")
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Send the workflow a value that its steps can read under `signals`."""
    asked: Json = {"name": name, "payload": read_input(payload, "--payload")}
    _send(url, "POST", workflow_path(id, "signal"), asked, output)


def add_controls(app: typer.Typer) -> None:
    for control in (pause, resume, cancel, retry, compensate, force_compensate, signal):
        app.command()(control)


def _put(url: str, workflow_id: str, control: str, asked: Json, output: Form) -> None:
    _send(url, "PUT", workflow_path(workflow_id, control), asked, output)


def _send(url: str, method: str, path: str, asked: Json, output: Form) -> None:
    body = {name: value for name, value in asked.items() if value is not None}
    response = request(url, method, path, json=body)
    document = document_of(response, "id", "status")
    if response.status_code == 202:
        note("the engine has not decided yet; it will decide, the command is on its topic")
    shown = ("id", "definition", "status", "compensationStatus", "cancelReason")
    write(output, document, {name: document.get(name) for name in shown})

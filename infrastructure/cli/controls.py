"""`conveyor workflow cancel`, `compensate`: commands on one workflow."""

from __future__ import annotations

from typing import Annotated

import typer

from infrastructure.cli.client import Json, document_of, request, workflow_path
from infrastructure.cli.options import DEFAULT_URL, Form, Output, Url, WorkflowId
from infrastructure.cli.output import note, write

Reason = Annotated[str | None, typer.Option(help="Stands in the history.")]


def cancel(
    id: WorkflowId,
    reason: Reason = None,
    compensate: Annotated[
        bool | None,
        typer.Option(
            "--compensate/--leave",
            help="Undo what was done, or not. Default: as the definition says.",
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Cancel a workflow that has not ended."""
    _control(url, id, "cancel", {"reason": reason, "compensate": compensate}, output)


def compensate(
    id: WorkflowId,
    reason: Reason = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Undo what a completed or failed workflow did."""
    _control(url, id, "compensate", {"reason": reason}, output)


def add_controls(app: typer.Typer) -> None:
    for control in (cancel, compensate):
        app.command()(control)


def _control(url: str, workflow_id: str, control: str, asked: Json, output: Form) -> None:
    body = {name: value for name, value in asked.items() if value is not None}
    response = request(url, "PUT", workflow_path(workflow_id, control), json=body)
    document = document_of(response, "id", "status")
    if response.status_code == 202:
        note("the engine has not decided yet; it will decide, the command is on its topic")
    shown = ("id", "definition", "status", "compensationStatus", "cancelReason")
    write(output, document, {name: document.get(name) for name in shown})

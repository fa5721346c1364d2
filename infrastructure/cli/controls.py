"""`conveyor workflow pause`, `cancel`, `signal` and the like: commands on one workflow."""

from __future__ import annotations

from typing import Annotated
from urllib.parse import quote

import typer

from infrastructure.cli.client import ADMIN, Json, document_of, request, workflow_path
from infrastructure.cli.inputs import read_input
from infrastructure.cli.options import DEFAULT_URL, Form, Output, Url, WorkflowId
from infrastructure.cli.output import note, write

Reason = Annotated[str | None, typer.Option(help="Recorded in the history.")]
#: Repairs change what a workflow would do by itself, so they always say why.
Why = Annotated[str, typer.Option("--reason", help="Recorded in the history.")]
Step = Annotated[str, typer.Argument(metavar="STEP", help="The step's id in the definition.")]


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


def execute_step(
    id: WorkflowId,
    step: Step,
    input: Annotated[
        str | None,
        typer.Option("--input", "-i", help="In place of the mapped input: JSON, @FILE, or -."),
    ] = None,
    result: Annotated[
        str | None,
        typer.Option("--result", "-r", help="Record this output instead: JSON, @FILE, or -."),
    ] = None,
    error: Annotated[
        str | None,
        typer.Option("--error", "-e", help="Record this failure instead: JSON, @FILE, or -."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Dispatch a pending step now, or record its outcome in place of the participant."""
    outcome: Json = {}
    if result is not None:
        outcome["output"] = read_input(result, "--result")
    if error is not None:
        outcome["error"] = read_input(error, "--error")
    asked: Json = {
        "stepId": step,
        "input": None if input is None else read_input(input),
        "result": outcome or None,
    }
    _send(url, "POST", workflow_path(id, "steps", "execute"), asked, output)


def retry_step(
    id: WorkflowId, step: Step, reason: Why, url: Url = DEFAULT_URL, output: Output = Form.TABLE
) -> None:
    """Try a step now that waits for its retry, or its undo, or the question about its outcome."""
    _repair(url, id, step, "retry-now", {"reason": reason}, output)


def skip_step(
    id: WorkflowId, step: Step, reason: Why, url: Url = DEFAULT_URL, output: Output = Form.TABLE
) -> None:
    """Leave out a step that was not performed."""
    _repair(url, id, step, "skip", {"reason": reason}, output)


def complete_step(
    id: WorkflowId,
    step: Step,
    reason: Why,
    result: Annotated[
        str | None,
        typer.Option("--result", "-r", help="The step's output: JSON, @FILE, or - for stdin."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Record a step that was performed by hand."""
    asked: Json = {"reason": reason, "output": read_input(result, "--result")}
    _repair(url, id, step, "complete", asked, output)


def patch(
    id: WorkflowId,
    reason: Why,
    input: Annotated[
        str | None,
        typer.Option("--input", "-i", help="Fields of the input: JSON, @FILE, or - for stdin."),
    ] = None,
    context: Annotated[
        str | None,
        typer.Option(
            "--context", "-c", help="Fields of the metadata: JSON, @FILE, or - for stdin."
        ),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Change fields of the input or metadata, for what is not done yet; null removes a field."""
    asked: Json = {
        "reason": reason,
        "input": read_input(input, "--input"),
        "context": read_input(context, "--context"),
    }
    _send(url, "PATCH", workflow_path(id), asked, output)


def reset(
    id: WorkflowId, step: Step, reason: Why, url: Url = DEFAULT_URL, output: Output = Form.TABLE
) -> None:
    """Undo a step of a paused or failed workflow and what depends on it, then go on from there."""
    _send(url, "POST", workflow_path(id, "reset"), {"toStep": step, "reason": reason}, output)


def preview(
    id: WorkflowId,
    command: Annotated[
        str, typer.Argument(metavar="COMMAND", help="For example cancel, or step.skip.")
    ],
    data: Annotated[
        str | None,
        typer.Option("--data", "-d", help="The command's data: JSON, @FILE, or - for stdin."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Show what a command would do now, without doing it."""
    asked: Json = {**read_input(data, "--data"), "command": command}
    response = request(url, "POST", workflow_path(id, "preview"), json=asked)
    document = document_of(response, "allowed", "undo", "lost", "refusals")
    fields: Json = {
        "allowed": "yes" if document["allowed"] else "no",
        "status": f"{document['status']} -> {document['statusAfter']}",
        "undoes": _effects(document["undo"]) or "nothing",
        "stays": _effects(document["lost"]) or "nothing",
    }
    for refusal in document["refusals"]:
        fields = {"allowed": "no", "because": f"{refusal['detail']} ({refusal['code']})"}
    write(output, document, fields)


def _effects(effects: list[Json]) -> str:
    return ", ".join(
        f"{each['stepId']} ({'if performed' if each['onlyIfPerformed'] else each['operation']})"
        for each in effects
    )


def add_controls(app: typer.Typer) -> None:
    controls = (pause, resume, cancel, retry, compensate, force_compensate, signal)
    repairs = (execute_step, retry_step, skip_step, complete_step, patch, reset, preview)
    for control in (*controls, *repairs):
        app.command()(control)


def _repair(url: str, workflow_id: str, step: str, repair: str, asked: Json, output: Form) -> None:
    path = workflow_path(workflow_id, "steps", quote(step, safe=""), repair)
    _send(url, "POST", path, asked, output)


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

"""`conveyor workflow`: workflows over the API."""

from __future__ import annotations

from typing import Annotated, Any
from urllib.parse import quote

import typer

from infrastructure.cli.client import WORKFLOWS, Json, call, document_of, request
from infrastructure.cli.failures import exit_for, fail, told
from infrastructure.cli.options import DEFAULT_URL, Form, Output, Url
from infrastructure.cli.output import note, write, write_fields, write_json, write_table
from infrastructure.cli.start import StartCommand, start

app = typer.Typer(no_args_is_help=True, help="Start, watch and control workflows.")
app.command("start", cls=StartCommand)(start)

WorkflowId = Annotated[str, typer.Argument(metavar="ID", show_default=False)]
Reason = Annotated[str | None, typer.Option(help="Stands in the history.")]


def _path(workflow_id: str, *parts: str) -> str:
    return "/".join((WORKFLOWS, quote(workflow_id, safe=""), *parts))


@app.command("list")
def list_workflows(
    status: Annotated[list[str] | None, typer.Option(help="Any of these; repeatable.")] = None,
    active: Annotated[
        bool | None, typer.Option("--active/--ended", help="Not ended, or ended.")
    ] = None,
    type: Annotated[str | None, typer.Option()] = None,
    definition: Annotated[str | None, typer.Option()] = None,
    correlation_id: Annotated[str | None, typer.Option()] = None,
    user_id: Annotated[str | None, typer.Option()] = None,
    wallet: Annotated[str | None, typer.Option()] = None,
    label: Annotated[list[str] | None, typer.Option(help="name:value; repeatable.")] = None,
    started_after: Annotated[str | None, typer.Option(help="As 2026-11-21T02:30:00Z.")] = None,
    started_before: Annotated[str | None, typer.Option()] = None,
    sort: Annotated[str | None, typer.Option(help="startedAt, or -startedAt.")] = None,
    limit: Annotated[int, typer.Option(help="1 to 200.")] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the last page ended.")] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """One page of the workflows, the newest first; it may be a second behind."""
    asked: Json = {
        "status": status,
        "active": active,
        "type": type,
        "definition": definition,
        "correlationId": correlation_id,
        "userId": user_id,
        "wallet": wallet,
        "label": label,
        "startedAfter": started_after,
        "startedBefore": started_before,
        "sort": sort,
        "limit": limit,
        "cursor": cursor,
    }
    params = {name: value for name, value in asked.items() if value not in (None, [])}
    page = call(url, "GET", WORKFLOWS, params=params)
    if output is Form.JSON:
        write_json(page)
        return
    shown = ("id", "definition", "status", "progress", "startedAt", "completedAt")
    columns = ("ID", "DEFINITION", "STATUS", "PROGRESS", "STARTED", "COMPLETED")
    write_table(columns, [[item[name] for name in shown] for item in page["items"]])
    if page["nextCursor"] is not None:
        note(f"there are more: --cursor {page['nextCursor']}")


@app.command()
def show(id: WorkflowId, url: Url = DEFAULT_URL, output: Output = Form.TABLE) -> None:
    """A workflow with its steps."""
    workflow = call(url, "GET", _path(id))
    if output is Form.JSON:
        write_json(workflow)
        return
    write_fields({name: value for name, value in workflow.items() if name not in _NOT_SHOWN})
    columns = ("STEP", "STATUS", "ATTEMPT", "SERVICE", "OPERATION", "MS", "ERROR", "UNDONE")
    write_table(columns, [_step_row(step) for step in workflow["steps"]])


_NOT_SHOWN = ("steps", "executionContext", "tenant", "workflowDefinitionId")


def _step_row(step: Json) -> list[Any]:
    error: Json = step["error"] or {}
    undo: Json = step["compensationAction"] or {}
    return [
        step["stepId"],
        step["status"],
        step["attempt"],
        step["serviceName"],
        step["operation"],
        step["executionTimeMs"],
        error.get("errorCode"),
        undo.get("completedAt"),
    ]


@app.command()
def history(
    id: WorkflowId,
    after: Annotated[int, typer.Option(help="Events above this version.")] = 0,
    limit: Annotated[int, typer.Option(help="1 to 1000.")] = 200,
    type: Annotated[str | None, typer.Option(help="The CloudEvents type.")] = None,
    kind: Annotated[str | None, typer.Option(help="As SAGA_COMPENSATION.")] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Every event of a workflow, in order."""
    asked: Json = {"after": after, "limit": limit, "type": type, "kind": kind}
    params = {name: value for name, value in asked.items() if value is not None}
    page = call(url, "GET", _path(id, "history"), params=params)
    if output is Form.JSON:
        write_json(page)
        return
    rows = [
        (
            item["version"],
            item["occurredAt"],
            item["eventType"],
            item["data"].get("stepId"),
            item["actor"],
        )
        for item in page["items"]
    ]
    write_table(("VERSION", "AT", "EVENT", "STEP", "ACTOR"), rows)
    if page["nextCursor"] is not None:
        note(f"there are more: --after {page['nextCursor']}")


@app.command()
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


@app.command()
def compensate(
    id: WorkflowId,
    reason: Reason = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Undo what a completed or failed workflow did."""
    _control(url, id, "compensate", {"reason": reason}, output)


def _control(url: str, workflow_id: str, control: str, asked: Json, output: Form) -> None:
    body = {name: value for name, value in asked.items() if value is not None}
    response = request(url, "PUT", _path(workflow_id, control), json=body)
    document = document_of(response)
    if not response.is_success:
        fail(told(document), exit_for(response.status_code))
    if response.status_code == 202:
        note("the engine has not decided yet; the command stands on its topic")
    shown = ("id", "definition", "status", "compensationStatus", "cancelReason")
    write(output, document, {name: document.get(name) for name in shown})

"""`conveyor workflow`: workflows over the API."""

from __future__ import annotations

from enum import StrEnum
from typing import Annotated

import typer

from domain.workflow.status import WorkflowStatus
from infrastructure.cli.client import WORKFLOWS, call
from infrastructure.cli.controls import add_controls
from infrastructure.cli.history import history
from infrastructure.cli.options import DEFAULT_URL, Form, Output, Url
from infrastructure.cli.output import note, write_json, write_table
from infrastructure.cli.show import show
from infrastructure.cli.start import StartCommand, start

app = typer.Typer(no_args_is_help=True, help="Start, watch and control workflows.")
app.command("start", cls=StartCommand)(start)


class Sort(StrEnum):
    OLDEST_FIRST = "startedAt"
    NEWEST_FIRST = "-startedAt"


@app.command("list")
def list_workflows(
    status: Annotated[
        list[WorkflowStatus] | None,
        typer.Option(help="Only workflows in this status; repeatable."),
    ] = None,
    active: Annotated[
        bool | None,
        typer.Option("--active/--ended", help="Only workflows that have not ended, or that have."),
    ] = None,
    type: Annotated[str | None, typer.Option()] = None,
    definition: Annotated[str | None, typer.Option()] = None,
    correlation_id: Annotated[str | None, typer.Option()] = None,
    user_id: Annotated[str | None, typer.Option()] = None,
    wallet: Annotated[str | None, typer.Option()] = None,
    label: Annotated[list[str] | None, typer.Option(help="name:value; repeatable.")] = None,
    incident: Annotated[
        str | None, typer.Option(help="Only workflows with this open incident, or with any.")
    ] = None,
    started_after: Annotated[
        str | None, typer.Option(help="For example 2026-11-21T02:30:00Z.")
    ] = None,
    started_before: Annotated[str | None, typer.Option()] = None,
    sort: Annotated[Sort | None, typer.Option()] = None,
    limit: Annotated[int, typer.Option(min=1, max=200)] = 50,
    cursor: Annotated[str | None, typer.Option(help="Where the last page ended.")] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """One page of the workflows, the newest first; it may be a second behind."""
    asked = {
        "status": status,
        "active": active,
        "type": type,
        "definition": definition,
        "correlationId": correlation_id,
        "userId": user_id,
        "wallet": wallet,
        "label": label,
        "incident": incident,
        "startedAfter": started_after,
        "startedBefore": started_before,
        "sort": sort,
        "limit": limit,
        "cursor": cursor,
    }
    page = call(url, WORKFLOWS, "items", "nextCursor", params=asked)
    if output is Form.JSON:
        write_json(page)
        return
    shown = ("id", "status", "progress", "startedAt", "completedAt", "definition")
    columns = ("ID", "STATUS", "%", "STARTED", "ENDED", "DEFINITION")
    rows = [[item[name] for name in shown] for item in page["items"]]
    write_table(columns, rows, spare=("ENDED", "DEFINITION", "%"))
    if page["nextCursor"] is not None:
        note(f"there are more: --cursor {page['nextCursor']}")


app.command()(show)
app.command()(history)
add_controls(app)

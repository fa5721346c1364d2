"""`conveyor workflow start`: one workflow, or one for each line of a file."""

from __future__ import annotations

import time
from collections.abc import Mapping
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer
from typer.core import TyperCommand

from domain.workflow.status import WorkflowStatus
from infrastructure.cli.client import WORKFLOWS, Json, document_of, request
from infrastructure.cli.failures import Exit, fail
from infrastructure.cli.inputs import read_input
from infrastructure.cli.options import COUNT_MAX, DEFAULT_URL, Form, Output, Url
from infrastructure.cli.output import note, write, write_fields, write_json, write_table
from infrastructure.cli.show import error_fields
from infrastructure.cli.start_file import Summary, start_file

#: Seconds between two polls of a workflow: short at first, because most end soon.
_FIRST_POLL_SECONDS = 0.05
_POLL_SECONDS = 0.5


class Priority(StrEnum):
    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"


class StartCommand(TyperCommand):
    """Allows `--wait` without a number, which waits until the end."""

    def parse_args(self, ctx: Any, args: list[str]) -> list[str]:
        return super().parse_args(ctx, _with_wait(args))


def _with_wait(args: list[str]) -> list[str]:
    complete: list[str] = []
    for place, arg in enumerate(args):
        following = args[place + 1] if place + 1 < len(args) else ""
        complete.append(f"--wait={inf}" if arg == "--wait" and not _is_number(following) else arg)
    return complete


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True


def start(
    definition: Annotated[str, typer.Argument(help="Name, or name-vN.")],
    input: Annotated[
        str | None, typer.Option("--input", "-i", help="JSON, @FILE, or - for stdin.")
    ] = None,
    id: Annotated[str | None, typer.Option("--id", help="The workflow's id.")] = None,
    idempotency_key: Annotated[
        str | None, typer.Option(help="The same key and input start one workflow.")
    ] = None,
    correlation_id: Annotated[str | None, typer.Option()] = None,
    priority: Annotated[Priority | None, typer.Option()] = None,
    version: Annotated[
        int | None, typer.Option(min=1, max=COUNT_MAX, help="Default: the newest.")
    ] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="A file of JSON lines: inputs, or starts with an `input` object. Repeating it starts nothing twice."
        ),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(min=0, metavar="[SECONDS]", help="Wait for the end, at most this long."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Start a workflow, or one for each line of a file.

    With --wait only COMPLETED is a success. Ctrl-C ends the waiting, not the workflow.
    """
    body: Json = {"definition": definition}
    given: Json = {"version": version, "correlationId": correlation_id, "priority": priority}
    body |= {name: value for name, value in given.items() if value is not None}
    if file is not None:
        for name, value in {
            "--input": input,
            "--id": id,
            "--idempotency-key": idempotency_key,
            "--wait": wait,
        }.items():
            if value is not None:
                fail(f"{name} is for one workflow; leave it out with --file", Exit.USAGE)
        _write_summary(start_file(url, file, body), output)
        return
    body["input"] = read_input(input)
    own: Json = {"id": id, "idempotencyKey": idempotency_key}
    body |= {name: value for name, value in own.items() if value is not None}
    document = _started(url, body)
    if wait is not None:
        document = _ended(url, document, time.monotonic() + wait)
    _write_workflow(document, output)
    if wait is not None and document["status"] != WorkflowStatus.COMPLETED:
        raise typer.Exit(Exit.REFUSED)


def _started(url: str, body: Json) -> Json:
    """The workflow right after its start, or the part of it that a 202 contains."""
    response = request(url, "POST", WORKFLOWS, json=body)
    document = document_of(response, "id", "status")
    if response.status_code == 202:
        note("the engine has not decided yet; it will carry the start out, it is on its topic")
    elif response.status_code == 200:
        note("the same start was made before; this is its workflow")
    for warning in document.get("warnings") or ():
        note(warning)
    return document


def _ended(url: str, document: Json, until: float) -> Json:
    """The workflow when it has ended or the time is over."""
    workflow_id = document["id"]
    go_on = f"it goes on: conveyor workflow show {workflow_id}"
    path = f"{WORKFLOWS}/{workflow_id}"
    pause = _FIRST_POLL_SECONDS
    try:
        note(f"started {workflow_id}, waiting for its end")
        while WorkflowStatus(document["status"]).is_active and time.monotonic() < until:
            time.sleep(min(pause, max(0.0, until - time.monotonic())))
            pause = min(2 * pause, _POLL_SECONDS)
            response = request(url, "GET", path)
            if response.status_code != 404:  # 404: not decided yet
                document = document_of(response, "id", "status")
    except KeyboardInterrupt:
        fail(f"stopped waiting for {workflow_id}; {go_on}", Exit.INTERRUPTED)
    if WorkflowStatus(document["status"]).is_active:
        note(f"the wait is over and {workflow_id} is {document['status']}; {go_on}")
    return document


def _write_workflow(document: Mapping[str, Any], output: Form) -> None:
    shown = ("id", "definition", "status", "progress", "correlationId", "output")
    fields = {name: document.get(name) for name in shown}
    write(output, document, fields | error_fields(document.get("errors") or ()))


def _write_summary(summary: Summary, output: Form) -> None:
    if output is Form.JSON:
        write_json(summary.document)
    else:
        write_fields(
            {
                "started": str(summary.started),
                "duplicates": str(summary.duplicates),
                "refused": str(len(summary.refused)),
            }
        )
        if summary.refused:
            rows = [
                (each["line"], each["code"], each["detail"]) for each in summary.document["refused"]
            ]
            write_table(("LINE", "CODE", "DETAIL"), rows, folded={"DETAIL"})
    if summary.refused:
        raise typer.Exit(Exit.REFUSED)

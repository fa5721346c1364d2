"""`conveyor workflow start`: one workflow, or one for each line of a file."""

from __future__ import annotations

import sys
import time
from enum import StrEnum
from math import inf
from pathlib import Path
from typing import Annotated, Any

import typer
from conveyor.json_text import read_json
from typer.core import TyperCommand

from infrastructure.cli.client import WAIT_MAX_SECONDS, WORKFLOWS, Json, document_of, request
from infrastructure.cli.failures import Exit, exit_for, fail, told
from infrastructure.cli.options import DEFAULT_URL, Form, Output, Url
from infrastructure.cli.output import note, write, write_fields, write_json, write_table
from infrastructure.cli.start_file import Summary, start_file

_POLL_SECONDS = 0.5
_ACTIVE = ("PENDING", "EXECUTING", "PAUSED", "COMPENSATING")


class Priority(StrEnum):
    HIGH = "HIGH"
    NORMAL = "NORMAL"
    LOW = "LOW"


class StartCommand(TyperCommand):
    """`--wait` may stand without its number: until the end."""

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
    version: Annotated[int | None, typer.Option(min=1, help="Default: the newest.")] = None,
    file: Annotated[
        Path | None,
        typer.Option(
            help="JSON lines: each an input, or a start with an `input` object. Repeating it starts nothing twice."
        ),
    ] = None,
    wait: Annotated[
        float | None,
        typer.Option(min=0, metavar="[SECONDS]", help="Until the end, at most so long."),
    ] = None,
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """Start a workflow, or one for each line of a file.

    With --wait only COMPLETED is a success.
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
    body["input"] = _read_input(input)
    own: Json = {"id": id, "idempotencyKey": idempotency_key}
    body |= {name: value for name, value in own.items() if value is not None}
    _start_one(url, body, wait, output)


def _read_input(given: str | None) -> Json:
    if given is None:
        return {}
    try:
        if given == "-":
            text = sys.stdin.buffer.read()
        elif given.startswith("@"):
            text = Path(given[1:]).read_bytes()
        else:
            text = given
        document: Any = read_json(text)
    except (OSError, ValueError) as fault:
        fail(f"--input: {fault}", Exit.USAGE)
    if not isinstance(document, dict):
        fail("--input: must be a JSON object", Exit.USAGE)
    return document  # pyright: ignore[reportUnknownVariableType] - JSON objects have text keys


def _start_one(url: str, body: Json, wait: float | None, output: Form) -> None:
    until = time.monotonic() + (wait or 0.0)
    params = {"wait": min(wait, WAIT_MAX_SECONDS)} if wait else {}
    response = request(url, "POST", WORKFLOWS, json=body, params=params)
    document = document_of(response)
    if not response.is_success:
        fail(told(document), exit_for(response.status_code))
    if response.status_code == 202:
        note(
            "the engine has not decided yet; the start stands on its topic and will be carried out"
        )
    elif response.status_code == 200:
        note("the same start was made before; this is its workflow")
    if wait is not None:
        document = _ended(url, document, until)
    shown = ("id", "definition", "status", "progress", "correlationId", "errors", "output")
    write(output, document, {name: document.get(name) for name in shown})
    if wait is not None and document["status"] != "COMPLETED":
        raise typer.Exit(Exit.REFUSED)


def _ended(url: str, document: Json, until: float) -> Json:
    """The workflow when it has ended or the time is over."""
    path = f"{WORKFLOWS}/{document['id']}"
    while document["status"] in _ACTIVE and time.monotonic() < until:
        time.sleep(min(_POLL_SECONDS, max(0.0, until - time.monotonic())))
        response = request(url, "GET", path)
        if response.is_success:
            document = document_of(response)
        elif response.status_code != 404:  # 404: not decided yet
            fail(told(document_of(response)), exit_for(response.status_code))
    return document


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
            rows = [(each["line"], each["code"], each["detail"]) for each in summary.refused]
            write_table(("LINE", "CODE", "DETAIL"), rows)
    if summary.refused:
        raise typer.Exit(Exit.REFUSED)

"""`conveyor definitions`: definitions over the API, and their proof without it."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Any
from urllib.parse import quote

import typer

from infrastructure.cli.client import DEFINITIONS, Json, call, document_of, problem_of, request
from infrastructure.cli.failures import Exit, exit_for, explained, fail
from infrastructure.cli.options import COUNT_MAX, DEFAULT_URL, Form, Output, Url
from infrastructure.cli.output import write_json, write_table
from infrastructure.definition_files import SUFFIXES, definition_files
from infrastructure.printable import is_printable

app = typer.Typer(no_args_is_help=True, help="Register, show and check workflow definitions.")

Source = Annotated[
    Path, typer.Argument(metavar="PATH", help="A file, or a folder of YAML and JSON files.")
]


@app.command("apply")
def apply_definitions(path: Source, url: Url = DEFAULT_URL, output: Output = Form.TABLE) -> None:
    """Register the definitions; one that is registered as it is stays so."""
    results = [_applied(url, file) for file in _files(path)]
    _write_results(results, output)
    exits = {result["exit"] for result in results} - {None}
    if exits:
        raise typer.Exit(Exit.CONFLICT if exits == {Exit.CONFLICT} else Exit.REFUSED)


def _applied(url: str, file: Path) -> Json:
    media_type = "application/json" if file.suffix == ".json" else "application/yaml"
    response = request(
        url, "POST", DEFINITIONS, content=_read(file), headers={"content-type": media_type}
    )
    if response.is_success:
        result = "created" if response.status_code == 201 else "same"
        return _result(file, result, document_of(response, "name", "version"))
    document = problem_of(response)
    code = exit_for(response.status_code)
    if code not in (Exit.REFUSED, Exit.CONFLICT):
        fail(explained(document), code)
    errors: list[Json] = document.get("errors") or [{"path": "", "message": document.get("detail")}]
    result = "conflict" if code is Exit.CONFLICT else "refused"
    return _result(file, result, {}, _with_lines(_read(file), errors), code)


@app.command()
def check(path: Source, output: Output = Form.TABLE) -> None:
    """Prove the definitions safe as registration would, without a server."""
    results = [_checked(file) for file in _files(path)]
    _write_results(results, output)
    if any(result["errors"] for result in results):
        raise typer.Exit(Exit.REFUSED)


def _checked(file: Path) -> Json:
    # Only this command needs the service's code; the others start without it.
    from adapters.rest.definition_body import UnreadableDocument, read_document  # noqa: PLC0415
    from application.definitions import InvalidDefinition, compile_definition  # noqa: PLC0415

    text = _read(file)
    try:
        document = read_document(text, file.suffix)
        compile_definition(document)
    except UnreadableDocument as fault:
        return _result(file, "refused", {}, [{"path": "", "message": str(fault)}])
    except RecursionError:
        return _result(file, "refused", {}, [{"path": "", "message": "is nested too deeply"}])
    except InvalidDefinition as invalid:
        errors: list[Json] = [
            {"path": fault.path, "message": fault.message, "rule": fault.rule.value}
            for fault in invalid.faults
        ]
        return _result(file, "refused", {}, _with_lines(text, errors))
    return _result(file, "safe", document)


def _with_lines(text: bytes, errors: Sequence[Json]) -> list[Json]:
    """The errors with the lines of the file, in their order."""
    from infrastructure.cli.definition_lines import Lines  # noqa: PLC0415 - only for faults

    lines = Lines(text)
    placed = [{**error, "line": lines.line_of(error["path"])} for error in errors]
    return sorted(placed, key=lambda error: error["line"] or 0)


def _result(
    file: Path,
    result: str,
    document: Json,
    errors: Sequence[Json] = (),
    exit: Exit | None = None,
) -> Json:
    return {
        "file": str(file),
        "name": document.get("name"),
        "version": document.get("version"),
        "result": result,
        "errors": list(errors),
        "exit": exit,
    }


def _write_results(results: Sequence[Json], output: Form) -> None:
    if output is Form.JSON:
        write_json([{k: v for k, v in result.items() if k != "exit"} for result in results])
        return
    rows: list[tuple[Any, ...]] = []
    for result in results:
        name, version = result["name"], result["version"]
        what = "" if name is None else f"{name}, version {version}"
        rows.append((result["file"], result["result"], what))
        for error in result["errors"]:
            line = f"  line {error['line']}" if error.get("line") else ""
            where = f"{error['path']}: " if error["path"] else ""
            rule = f" ({error['rule']})" if error.get("rule") else ""
            rows.append((line, "", f"{where}{error['message']}{rule}"))
    write_table(("FILE", "RESULT", "DEFINITION"), rows, folded={"FILE", "DEFINITION"})


@app.command("list")
def list_definitions(url: Url = DEFAULT_URL, output: Output = Form.TABLE) -> None:
    """Every version of every definition."""
    page = call(url, DEFINITIONS, "items")
    if output is Form.JSON:
        write_json(page)
        return
    rows = [
        (item["name"], item["version"], item["type"], len(item.get("steps", [])), item.get("title"))
        for item in page["items"]
    ]
    write_table(("NAME", "VERSION", "TYPE", "STEPS", "TITLE"), rows)


@app.command()
def show(
    name: Annotated[str, typer.Argument()],
    version: Annotated[int, typer.Argument(min=1, max=COUNT_MAX)],
    url: Url = DEFAULT_URL,
    output: Output = Form.TABLE,
) -> None:
    """A definition as it was registered."""
    document = call(url, f"{DEFINITIONS}/{quote(name, safe='')}/{version}", "name", "version")
    if output is Form.JSON:
        write_json(document)
        return
    import yaml  # noqa: PLC0415 - needed here only

    text = yaml.safe_dump(document, sort_keys=False, allow_unicode=True)
    if not is_printable(text):
        text = yaml.safe_dump(document, sort_keys=False)
    typer.echo(text, nl=False)


def _files(path: Path) -> list[Path]:
    if not path.is_dir():
        return [path]
    files = definition_files(path)
    if not files:
        fail(f"{path} holds no file that ends in {', '.join(SUFFIXES)}", Exit.USAGE)
    return files


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError as fault:
        fail(f"{file}: {fault.strerror}", Exit.USAGE)

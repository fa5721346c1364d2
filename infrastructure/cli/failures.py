"""How a command fails: a sentence on stderr and one of these exit codes (CONTRACT 5)."""

from __future__ import annotations

from enum import IntEnum
from typing import Any, NoReturn

import typer

from infrastructure.cli.output import note


class Exit(IntEnum):
    """0 is success."""

    REFUSED = 1
    USAGE = 2
    NO_CONNECTION = 3
    NOT_FOUND = 4
    CONFLICT = 5
    NOT_ALLOWED = 6
    #: Ctrl-C, as shells report it.
    INTERRUPTED = 130


_EXITS = {
    401: Exit.NOT_ALLOWED,
    403: Exit.NOT_ALLOWED,
    404: Exit.NOT_FOUND,
    409: Exit.CONFLICT,
    412: Exit.CONFLICT,
    502: Exit.NO_CONNECTION,
    503: Exit.NO_CONNECTION,
    504: Exit.NO_CONNECTION,
}


def fail(message: str, code: Exit) -> NoReturn:
    """End the command."""
    note(message)
    raise typer.Exit(code)


def exit_for(status: int) -> Exit:
    """The exit code for an unsuccessful status of the API."""
    return _EXITS.get(status, Exit.REFUSED)


def explained(problem: dict[str, Any]) -> str:
    """A problem document as sentences, one line for each fault."""
    lines = [f"{problem.get('code', problem.get('status'))}: {problem.get('detail', '')}"]
    errors: list[dict[str, Any]] = problem.get("errors") or []
    if errors:
        lines = [f"{problem.get('code')}: {problem.get('title')}"]
        lines += [f"  {fault['path'] or 'document'}: {fault['message']}" for fault in errors]
    allowed: list[str] = problem.get("allowedCommands") or []
    if allowed:
        lines.append(f"  possible now: {', '.join(allowed)}")
    return "\n".join(lines)

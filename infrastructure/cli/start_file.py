"""Starts a workflow for each line of a file: many requests at a time, each line at most once.

The idempotency key of a line is the file's hash and the line's number, so that a repeated command finds the workflows
that an interrupted one had started.
"""

from __future__ import annotations

import asyncio
import hashlib
import ssl
from collections.abc import Callable, Iterable, Iterator
from dataclasses import dataclass, field
from pathlib import Path

import httpx
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TimeRemainingColumn

from infrastructure.cli.client import WORKFLOWS, Json, new_client, no_connection, problem_of
from infrastructure.cli.failures import Exit, exit_for, explained, fail
from infrastructure.cli.inputs import InputError, read_lines, read_object
from infrastructure.cli.output import console, errors_at_terminal

_IN_FLIGHT = 64
_AWAY = (502, 503, 504)
#: With these refusals, the reason is common to all lines.
_POINTLESS = (401, 403, 404, 405)
#: How often a line is tried while the service is away. The wait doubles each time.
_TRIES = 6
_FIRST_WAIT_SECONDS = 0.25


@dataclass(slots=True)
class Summary:
    """The outcome of the lines."""

    started: int = 0
    duplicates: int = 0
    refused: list[Json] = field(default_factory=list[Json])

    @property
    def document(self) -> Json:
        self.refused.sort(key=lambda each: each["line"])
        return {"started": self.started, "duplicates": self.duplicates, "refused": self.refused}

    @property
    def is_begun(self) -> bool:
        """The service was reached before, even if it is away now."""
        return self.started + self.duplicates > 0

    def refuse(self, line: int, code: str, detail: str) -> None:
        self.refused.append({"line": line, "code": code, "detail": detail})


@dataclass(frozen=True, slots=True)
class Line:
    number: int
    text: bytes


def start_file(url: str, file: Path, defaults: Json) -> Summary:
    """Start every line of the file; ends the command without a connection."""
    try:
        content = file.read_bytes()
        lines = [Line(number, text) for number, text in read_lines(content)]
    except OSError as fault:
        fail(f"--file {file}: {fault.strerror}", Exit.USAGE)
    except InputError as fault:
        fail(f"--file {file}: {fault}", Exit.USAGE)
    summary = Summary()
    with _progress() as progress:
        task = progress.add_task("starting", total=len(lines))
        key = hashlib.sha256(content).hexdigest()[:32]
        sender = _Sender(defaults, key, summary, lambda: progress.advance(task))
        try:
            asyncio.run(sender.send_all(url, lines))
        except httpx.RequestError as fault:
            no_connection(url, fault, _so_far(summary))
        except KeyboardInterrupt:
            fail(_so_far(summary), Exit.INTERRUPTED)
        except _Pointless as fault:
            fail(f"{fault}\n{_so_far(summary)}", fault.code)
    return summary


def _so_far(summary: Summary) -> str:
    return (
        f"{summary.started} lines started, {summary.duplicates} had been started before;"
        " the same command goes on from here"
    )


def _progress() -> Progress:
    return Progress(
        BarColumn(),
        MofNCompleteColumn(),
        TimeRemainingColumn(),
        console=console(stderr=True),
        disable=not errors_at_terminal(),
    )


class _Pointless(Exception):
    """The service would refuse every line."""

    def __init__(self, problem: Json, status: int) -> None:
        super().__init__(explained(problem))
        self.code = exit_for(status)


@dataclass(frozen=True, slots=True)
class _Sender:
    defaults: Json
    key: str
    summary: Summary
    advance: Callable[[], None]

    async def send_all(self, url: str, lines: Iterable[Line]) -> None:
        waiting = iter(lines)
        certificates = httpx.create_ssl_context()
        await asyncio.gather(*(self._send(url, certificates, waiting) for _ in range(_IN_FLIGHT)))

    async def _send(self, url: str, certificates: ssl.SSLContext, waiting: Iterator[Line]) -> None:
        """Send lines over one connection: a shared pool would take three times as long as the requests."""
        async with new_client(httpx.AsyncClient, url, verify=certificates) as client:
            for line in waiting:
                body = self._body(line)
                if body is not None:
                    self._note(line, await self._answer(client, body))
                self.advance()

    def _body(self, line: Line) -> Json | None:
        """The start that the line asks for, None if it is refused here."""
        try:
            given = read_object(line.text)
        except InputError as fault:
            self.summary.refuse(line.number, fault.code, str(fault))
            return None
        start = given if isinstance(given.get("input"), dict) else {"input": given}
        return {"idempotencyKey": f"{self.key}:{line.number}", **self.defaults, **start}

    async def _answer(self, client: httpx.AsyncClient, body: Json) -> httpx.Response:
        """The service's answer, once it has one to give. Raises httpx.RequestError."""
        wait = _FIRST_WAIT_SECONDS
        for _ in range(_TRIES - 1):
            try:
                response = await client.post(WORKFLOWS, json=body)
                if response.status_code not in _AWAY:
                    return response
            except httpx.UnsupportedProtocol:
                raise
            except httpx.RequestError:
                if not self.summary.is_begun:
                    raise
            await asyncio.sleep(wait)
            wait *= 2
        response = await client.post(WORKFLOWS, json=body)
        if response.status_code in _AWAY:
            raise httpx.NetworkError(explained(problem_of(response)))
        return response

    def _note(self, line: Line, response: httpx.Response) -> None:
        if response.status_code == 200:
            self.summary.duplicates += 1
        elif response.is_success:
            self.summary.started += 1
        else:
            problem = problem_of(response)
            if response.status_code in _POINTLESS:
                raise _Pointless(problem, response.status_code)
            code, detail = problem.get("code", ""), problem.get("detail", "")
            self.summary.refuse(line.number, code, detail)

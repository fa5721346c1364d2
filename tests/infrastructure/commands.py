"""The command line as tests call it: within this process, or as a process of its own."""

from __future__ import annotations

import json
import os
import pty
import signal
import socket
import subprocess
import sys
import termios
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from pathlib import Path
from threading import Event, Thread
from typing import Any

from typer.testing import CliRunner, Result

from infrastructure.cli import app
from tests.acceptance.programs import is_ready
from tests.waiting import end_of, wait_until

ROOT = Path(__file__).parents[2]
CONVEYOR = [sys.executable, "-c", "from infrastructure.cli import main; main()"]
#: What else decides how a terminal is written to belongs to each test.
_OF_THE_TERMINAL = ("TERM", "COLORTERM", "NO_COLOR", "FORCE_COLOR", "COLUMNS", "LINES")
ENVIRONMENT = {
    **{
        name: value
        for name, value in os.environ.items()
        if not name.startswith("CONVEYOR_") and name not in _OF_THE_TERMINAL
    },
    "PYTHONPATH": f"{ROOT}:{ROOT / 'sdk'}",
}
ORDER = json.dumps({"orderId": "ORD-1", "lines": [{"sku": "LAMP-01", "quantity": 2}]})


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as server:
        return server.getsockname()[1]


def wait_until_ready(url: str, process: subprocess.Popen[bytes]) -> None:
    wait_until("the server is ready", lambda: is_ready(url), 40, lambda: end_of(process))


def conveyor(url: str, *arguments: str, input: str | None = None) -> Result:
    """A command's result, within this process."""
    return CliRunner().invoke(app, arguments, input=input, env={"CONVEYOR_URL": url})


def told(url: str, *arguments: str, exit_code: int = 0) -> Any:
    """What a command tells programs."""
    result = conveyor(url, *arguments, "--output", "json")
    assert result.exit_code == exit_code, result.output
    return json.loads(result.stdout)


def started(url: str, workflow_id: str, *arguments: str) -> Any:
    start = ("workflow", "start", "order-fulfillment", "--input", ORDER, "--id", workflow_id)
    return told(url, *start, *arguments)


def process(
    *arguments: str,
    folder: Path | None = None,
    interrupt_after: str | None = None,
    settings: Mapping[str, str] | None = None,
    **environment: str,
) -> subprocess.CompletedProcess[str]:
    """A command as a process of its own; one that runs on gets SIGINT when its stdout has that text."""
    with subprocess.Popen(
        [*CONVEYOR, *arguments],
        env={**ENVIRONMENT, **(settings or {}), **environment},
        cwd=folder,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    ) as running:
        seen = ""
        if interrupt_after is not None and running.stdout is not None:
            for line in running.stdout:
                seen += line
                if interrupt_after in line:
                    running.send_signal(signal.SIGINT)
                    break
        try:
            stdout, stderr = running.communicate(timeout=50)
        except subprocess.TimeoutExpired:
            running.kill()
            raise
    return subprocess.CompletedProcess(arguments, running.returncode, seen + stdout, stderr)


@contextmanager
def answering(
    *answers: tuple[int, Any], silent: str | None = None
) -> Iterator[tuple[str, list[Any]]]:
    """A server that sends these responses, the last one for ever; and the bodies that it got.

    At the path `silent` it never responds.
    """
    bodies: list[Any] = []
    left = list(answers)
    ended = Event()

    class Handler(BaseHTTPRequestHandler):
        protocol_version = "HTTP/1.1"

        def do_POST(self) -> None:
            bodies.append(json.loads(self.rfile.read(int(self.headers["content-length"]))))
            self.do_GET()

        def do_GET(self) -> None:
            if self.path == silent:
                ended.wait()
                return
            status, document = left.pop(0) if len(left) > 1 else left[0]
            content = json.dumps(document).encode()
            self.send_response(status)
            self.send_header("content-length", str(len(content)))
            self.end_headers()
            self.wfile.write(content)

        def log_message(self, format: str, *args: Any) -> None:
            """Nobody reads it."""

    with ThreadingHTTPServer(("127.0.0.1", 0), Handler) as http:
        thread = Thread(target=http.serve_forever)
        thread.start()
        try:
            yield f"http://127.0.0.1:{http.server_port}", bodies
        finally:
            ended.set()
            http.shutdown()
            thread.join()


def at_terminal(
    *arguments: str,
    columns: int = 80,
    interrupt_after: str | None = None,
    settings: Mapping[str, str] | None = None,
    **environment: str,
) -> tuple[int, str]:
    """Exit code and screen of a command at a terminal; Ctrl-C as soon as the screen shows that text."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (24, columns))
    running = subprocess.Popen(
        [*CONVEYOR, *arguments],
        env={"TERM": "xterm", **ENVIRONMENT, **(settings or {}), **environment},
        stdin=theirs,
        stdout=theirs,
        stderr=theirs,
    )
    os.close(theirs)
    screen = b""
    with suppress(OSError):  # how Linux reports the end of a terminal
        while part := os.read(ours, 65536):
            screen += part
            if interrupt_after is not None and interrupt_after.encode() in screen:
                running.send_signal(signal.SIGINT)
                interrupt_after = None
    os.close(ours)
    return running.wait(50), screen.decode().replace("\r\n", "\n")

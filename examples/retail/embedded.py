"""`conveyor dev` on a temporary file, for as long as the example needs it."""

from __future__ import annotations

import socket
import subprocess
import sys
import tempfile
import time
from collections.abc import Generator
from contextlib import contextmanager
from pathlib import Path

import httpx

_START_SECONDS = 60.0
_STOP_SECONDS = 20.0


class NotStartedError(Exception):
    """The process ended, or does not answer; the message holds what it said."""


@contextmanager
def embedded_service() -> Generator[str]:
    """The URL of a service that is stopped, and its file removed, in the end."""
    with tempfile.TemporaryDirectory(prefix="conveyor-retail-") as folder:
        port = _free_port()
        log = Path(folder, "dev.log")
        with log.open("wb") as output:
            process = subprocess.Popen(
                [
                    Path(sys.executable).with_name("conveyor"),
                    "dev",
                    *("--port", str(port)),
                    *("--db", Path(folder, "conveyor.db")),
                    *("--orders-per-second", "0"),
                ],
                stdout=output,
                stderr=subprocess.STDOUT,
            )
        try:
            url = f"http://127.0.0.1:{port}"
            _wait_until_ready(url, process, log)
            yield url
        finally:
            process.terminate()
            try:
                process.wait(_STOP_SECONDS)
            except subprocess.TimeoutExpired:
                process.kill()
                process.wait()


def _free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


def _wait_until_ready(url: str, process: subprocess.Popen[bytes], log: Path) -> None:
    deadline = time.monotonic() + _START_SECONDS
    while not _is_ready(url):
        if process.poll() is not None:
            raise NotStartedError(f"`conveyor dev` ended:\n{log.read_text(errors='replace')}")
        if time.monotonic() > deadline:
            raise NotStartedError(
                f"`conveyor dev` is not ready:\n{log.read_text(errors='replace')}"
            )
        time.sleep(0.05)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready").is_success
    except httpx.TransportError:
        return False

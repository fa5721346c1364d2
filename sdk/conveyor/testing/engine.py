"""The engine's process: the real engine of the service, on virtual time, one for all tests of a session."""

from __future__ import annotations

import atexit
import os
import shutil
import subprocess
import sys
import tempfile
import threading
from contextlib import suppress
from pathlib import Path
from typing import Any

import orjson

from conveyor.testing.errors import EngineError

#: Names the program where it is neither next to Python nor on PATH.
VARIABLE = "CONVEYOR_ENGINE"
_GRACE_SECONDS = 5.0


class Engine:
    """Commands to the process, one at a time; it does nothing between two of them."""

    def __init__(self) -> None:
        """Raises EngineError."""
        program = _program()
        self._lock = threading.Lock()
        # Its own words are of interest only if it ends.
        self._log = tempfile.TemporaryFile()  # noqa: SIM115 - closed with the process
        try:
            self._process = subprocess.Popen(
                [program, "test-engine"],
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=self._log,
            )
        except OSError as error:
            self._log.close()
            raise EngineError(f"the engine of the service does not start: {error}") from None

    @property
    def pid(self) -> int:
        return self._process.pid

    def call(self, do: str, **fields: Any) -> dict[str, Any]:
        """Let it act, and return its response. Raises EngineError when the process has ended."""
        process = self._process
        if process.stdin is not None and process.stdin.closed:
            raise EngineError("the engine's process has ended")
        assert process.stdin is not None
        command = orjson.dumps({"do": do, **fields}, option=orjson.OPT_APPEND_NEWLINE)
        with self._lock:
            try:
                process.stdin.write(command)
                process.stdin.flush()
                line = self._receive()
            except (OSError, ValueError):
                line = b""
            except BaseException:
                # Interrupted before the response came: the next command would take it for its own.
                _forget(self)
                process.kill()
                self.close()
                raise
        if not line:
            raise EngineError(self._last_words())
        response: dict[str, Any] = orjson.loads(line)
        return response

    def _receive(self) -> bytes:
        assert self._process.stdout is not None
        return self._process.stdout.readline()

    def close(self) -> None:
        """End it; it ends by itself when this process does."""
        if self._process.stdin is not None and not self._process.stdin.closed:
            with suppress(BrokenPipeError):
                self._process.stdin.close()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        if self._process.stdout is not None:
            self._process.stdout.close()
        self._log.close()

    def _last_words(self) -> str:
        _forget(self)
        try:
            code: object = self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            code = "none: it closed its output and still ran"
        self._log.seek(0)
        words = self._log.read().decode(errors="replace").strip()
        self.close()
        ended = (
            f"the engine's process has ended (exit code {code}); the next Conveyor starts another"
        )
        return f"{ended}\n{words}" if words else ended


def _program() -> str:
    """Where the service's command is installed. Raises EngineError."""
    named = os.environ.get(VARIABLE)
    if named:
        return named
    found = shutil.which("conveyor", path=str(Path(sys.executable).parent)) or shutil.which(
        "conveyor"
    )
    if found is None:
        raise EngineError(
            "the test kit needs the service: install conveyor-orchestrator in this environment,"
            f" or name its program `conveyor` in {VARIABLE}"
        )
    return found


_engines: dict[int, Engine] = {}


def shared_engine() -> Engine:
    """The engine of this process, started when it is first needed. Raises EngineError."""
    # A forked process must not talk to its parent's.
    engine = _engines.get(os.getpid())
    if engine is None:
        _engines.clear()
        engine = _engines[os.getpid()] = Engine()
    return engine


def _forget(engine: Engine) -> None:
    if _engines.get(os.getpid()) is engine:
        del _engines[os.getpid()]


@atexit.register
def close_engine() -> None:
    """End the engine of this process, if it has one."""
    engine = _engines.pop(os.getpid(), None)
    if engine is not None:
        engine.close()

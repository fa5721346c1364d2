"""A server as a child process: started, waited for, and stopped by its starter."""

import atexit
import contextlib
import shutil
import socket
import subprocess
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path
from types import TracebackType
from typing import Self

LOCALHOST = "127.0.0.1"
_POLL_SECONDS = 0.05
_LOG_TAIL_BYTES = 4000


class ServiceError(RuntimeError):
    """A server could not be started; the message says why, and shows the end of its log."""


class RunningService:
    """A server that answers at `address` until `stop()` or the end of the interpreter."""

    def __init__(self, name: str, address: str, folder: Path, stop: Callable[[], None]) -> None:
        self.name = name
        self.address = address
        #: Where the server keeps its state and its log.
        self.folder = folder
        self._stop = stop
        self._is_stopped = False
        atexit.register(self.stop)

    def stop(self) -> None:
        if self._is_stopped:
            return
        self._is_stopped = True
        atexit.unregister(self.stop)
        self._stop()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.stop()


class LocalService(RunningService):
    """A server that is a child process of this one."""

    def __init__(
        self,
        name: str,
        address: str,
        folder: Path,
        process: subprocess.Popen[bytes],
        *,
        removes_folder: bool,
        grace_seconds: float,
    ) -> None:
        super().__init__(name, address, folder, self._end_process)
        self.process = process
        self._removes_folder = removes_folder
        self._grace_seconds = grace_seconds

    def kill(self) -> None:
        """End the server without warning, as a power cut would; `stop()` still has to follow."""
        self.process.kill()
        self.process.wait()

    def _end_process(self) -> None:
        self.process.terminate()
        try:
            self.process.wait(self._grace_seconds)
        except subprocess.TimeoutExpired:
            self.kill()
        if self._removes_folder:
            shutil.rmtree(self.folder, ignore_errors=True)


def state_folder(name: str, folder: Path | None) -> Path:
    if folder is None:
        return Path(tempfile.mkdtemp(prefix=f"conveyor-{name}-"))
    folder.mkdir(parents=True, exist_ok=True)
    return folder


def free_port(preferred: int | None = None) -> int:
    """`preferred` if nothing listens there, else any port that is free now."""
    for port in [preferred, 0] if preferred else [0]:
        with socket.socket() as probe, contextlib.suppress(OSError):
            probe.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            probe.bind((LOCALHOST, port))
            bound_port: int = probe.getsockname()[1]
            return bound_port
    raise ServiceError("no free port")


def required_program(name: str, debian_package: str) -> str:
    path = shutil.which(name)
    if path is None:
        raise ServiceError(f"{name} is not installed; on Debian: apt-get install {debian_package}")
    return path


def start_process(
    name: str,
    command: Sequence[str],
    *,
    address: str,
    folder: Path,
    removes_folder: bool,
    answers: Callable[[], bool],
    deadline_seconds: float,
    grace_seconds: float = 10,
) -> LocalService:
    """Start `command`, return when `answers()` holds; its output goes to `<folder>/<name>.log`."""
    log = folder / f"{name}.log"
    with log.open("ab") as output:
        process = subprocess.Popen(
            [*_dying_with_its_parent(), *command],
            cwd=folder,
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
            # Ctrl-C reaches the whole foreground group: the parent alone decides when servers stop.
            start_new_session=True,
        )
    service = LocalService(
        name,
        address,
        folder,
        process,
        removes_folder=removes_folder,
        grace_seconds=grace_seconds,
    )
    try:
        _wait_until_it_answers(service, log, answers, deadline_seconds)
    except BaseException:  # an interrupt must not leave the server running either
        service.stop()
        raise
    return service


def _wait_until_it_answers(
    service: LocalService, log: Path, answers: Callable[[], bool], deadline_seconds: float
) -> None:
    deadline = time.monotonic() + deadline_seconds
    while not answers():
        exit_code = service.process.poll()
        if exit_code is not None:
            raise ServiceError(f"{service.name} ended with {exit_code}:\n{_tail(log)}")
        if time.monotonic() > deadline:
            raise ServiceError(
                f"{service.name} does not answer after {deadline_seconds:g} s:\n{_tail(log)}"
            )
        time.sleep(_POLL_SECONDS)


def accepts_connections(port: int) -> bool:
    with contextlib.suppress(OSError), socket.create_connection((LOCALHOST, port), timeout=1):
        return True
    return False


def _dying_with_its_parent() -> list[str]:
    """A killed parent cannot stop its servers; on Linux the kernel does it.

    The parent is the thread that starts the server, so start servers from a thread that lives on.
    """
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []


def _tail(log: Path) -> str:
    return log.read_bytes()[-_LOG_TAIL_BYTES:].decode(errors="replace")

"""`conveyor` as its users run it: a process, watched and stopped by the test that started it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable, Generator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import httpx

from tests.waiting import DEADLINE_SECONDS, wait_until

CONVEYOR = str(Path(sys.executable).with_name("conveyor"))

Found = TypeVar("Found")

_STOP_SECONDS = 30.0
_LOG_TAIL = 3_000


def until(
    what: str,
    look: Callable[[], Found | None],
    seconds: float = DEADLINE_SECONDS,
    programs: Sequence[Program] = (),
) -> Found:
    """What `look` finds, as soon as it finds anything true.

    Fails after the deadline, or when one of the programs has ended; with the ends of their logs.
    """

    def ended() -> str | None:
        names = [program.name for program in programs if program.process.poll() is not None]
        return f"{', '.join(names)} ended" if names else None

    try:
        return wait_until(what, look, seconds, ended)
    except AssertionError as error:
        for each in programs:
            error.add_note(f"-- {each.name}:\n{each.log[-_LOG_TAIL:]}")
        raise


@dataclass(frozen=True, slots=True)
class Program:
    """One process; its standard output and error are in `log_file`."""

    name: str
    process: subprocess.Popen[bytes]
    log_file: Path

    @property
    def log(self) -> str:
        return self.log_file.read_text(errors="replace")

    def stop(self) -> int:
        """Ask it to end (SIGTERM); its exit code."""
        self.process.terminate()
        try:
            return self.process.wait(_STOP_SECONDS)
        except subprocess.TimeoutExpired:
            self.kill()
            raise AssertionError(
                f"{self.name} did not end on SIGTERM:\n{self.log[-_LOG_TAIL:]}"
            ) from None

    def kill(self) -> None:
        """End it without warning (SIGKILL)."""
        self.process.kill()
        self.process.wait()


@contextmanager
def running(
    name: str,
    *arguments: str,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    program: Sequence[str] = (CONVEYOR,),
) -> Generator[Program]:
    """`conveyor <arguments>` with only these settings; gone in the end, however the test went."""
    log_file = folder / f"{name}.log"
    with log_file.open("ab") as output:
        process = subprocess.Popen(
            [*_dying_with_the_test(), *program, *arguments],
            cwd=folder,
            env=_environment(settings or {}),
            stdin=subprocess.DEVNULL,
            stdout=output,
            stderr=subprocess.STDOUT,
        )
    started = Program(name, process, log_file)
    try:
        yield started
    finally:
        if process.poll() is None:
            started.kill()


def run(
    *arguments: str,
    folder: Path,
    settings: Mapping[str, str] | None = None,
    program: Sequence[str] = (CONVEYOR,),
    seconds: float = 60.0,
) -> subprocess.CompletedProcess[str]:
    """A command that ends by itself."""
    return subprocess.run(
        [*program, *arguments],
        cwd=folder,
        env=_environment(settings or {}),
        stdin=subprocess.DEVNULL,
        capture_output=True,
        text=True,
        timeout=seconds,
        check=False,
    )


def is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", timeout=10).is_success
    except httpx.TransportError:
        return False


def _environment(settings: Mapping[str, str]) -> dict[str, str]:
    """Without the settings of whoever runs the tests."""
    inherited = {k: v for k, v in os.environ.items() if not k.startswith("CONVEYOR_")}
    return {**inherited, **settings}


def _dying_with_the_test() -> list[str]:
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "KILL"] if setpriv else []

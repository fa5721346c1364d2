"""The engine and the participant of the Kafka mode, and workers, as processes of their own.

They run `python -m bench.recipes ROLE`, with the settings of the run in their environment.
"""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import tempfile
from collections.abc import Mapping
from pathlib import Path

from bench.recipes.errors import BenchError
from bench.recipes.gauges import Gauge

ENGINE = "engine"
PARTICIPANT = "participant"
#: `conveyor-worker`, over HTTP.
WORKER = "worker"
_GRACE_SECONDS = 20.0
_LOG_TAIL_BYTES = 4000


class Child:
    """A role that runs until `stop`."""

    def __init__(
        self,
        role: str,
        environment: Mapping[str, str],
        profile: Path | None = None,
        copies: Mapping[str, int] | None = None,
    ) -> None:
        """With `copies`, id prefix -> number of workflows, it stands for the role only."""
        self.role = role
        self._log = tempfile.TemporaryFile(prefix=f"conveyor-bench-{role}-")  # noqa: SIM115 - closed by stop
        command = [sys.executable, "-m", "bench.recipes", role]
        if profile is not None:
            command += ["--profile", str(profile.absolute())]
        if copies is not None:
            command += ["--copies", *(f"{prefix}={count}" for prefix, count in copies.items())]
        self._process = subprocess.Popen(
            [*dying_with_its_parent(), *command],
            env={**os.environ, **environment},
            stdin=subprocess.DEVNULL,
            stdout=self._log,
            stderr=subprocess.STDOUT,
            # Ctrl-C is for the parent, which measures or cleans up, and then stops its children.
            start_new_session=True,
        )

    @property
    def gauge(self) -> Gauge:
        return Gauge(self.role, self._process.pid)

    def check(self) -> None:
        """Raises BenchError, with the end of its log, if the process has ended."""
        exit_code = self._process.poll()
        if exit_code is not None:
            raise BenchError(f"the {self.role} ended with {exit_code}:\n{self._log_tail()}")

    def kill(self) -> None:
        """End it without warning; `stop` still has to follow."""
        self._process.kill()
        self._process.wait()

    def stop(self) -> str:
        """Let it finish what it has begun and leave its group. Returns the end of its log."""
        self._process.terminate()
        try:
            self._process.wait(_GRACE_SECONDS)
        except subprocess.TimeoutExpired:
            self._process.kill()
            self._process.wait()
        with self._log:
            return self._log_tail()

    def _log_tail(self) -> str:
        size = self._log.seek(0, os.SEEK_END)
        self._log.seek(max(0, size - _LOG_TAIL_BYTES))
        return self._log.read().decode(errors="replace")


def dying_with_its_parent() -> list[str]:
    """A bench that is killed cannot stop its children; on Linux the kernel does it."""
    setpriv = shutil.which("setpriv")
    return [setpriv, "--pdeathsig", "TERM"] if setpriv else []

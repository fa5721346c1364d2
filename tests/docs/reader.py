"""Follow pages of the documentation as a reader does: save their files, and run their commands as written.

A mark before a block of code says what a reader does with it:

    <!-- save: hotel/app.py -->   saves it under this name
    <!-- shell -->                runs it, with success
    <!-- shell: fails -->         runs it; its last command ends with 1, as for a workflow that did not complete
    <!-- terminal: 1 -->          leaves it running in this terminal, and stops what ran there before
    <!-- shows -->                sees these lines, in this order, in the output of the block before
    <!-- shows: 1 -->             sees them in the output of terminal 1
    <!-- install -->              installs something, for `install` alone

Other marks say that a test of its own has the block.

The commands of the pages use port 8080. Here they use a free one.
"""

from __future__ import annotations

import os
import re
import signal
import subprocess
import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager, suppress
from pathlib import Path
from types import TracebackType
from typing import Self

from deploy.local_services.process import free_port
from tests.docs.pages import page
from tests.waiting import wait_until

DEADLINE_SECONDS = 60.0
_BLOCK = re.compile(
    r"<!-- (save|shell|terminal|shows|install)(?:: ([^ ]+))? -->\n```\w+\n(.*?)```", re.DOTALL
)
_SERVERS = re.compile(r"^(conveyor (?:dev|serve)\b.*)$", re.MULTILINE)


class Failed(AssertionError):
    """A page does not do what it says."""


class Reader:
    """A folder, some terminals, and the programs of a virtual environment."""

    def __init__(
        self,
        folder: Path,
        programs: Path,
        environment: Mapping[str, str],
    ) -> None:
        """`programs` is the folder of `conveyor`; `environment` are settings besides it."""
        self._folder = folder
        self._port = str(free_port(18_080))
        own = {
            name: value for name, value in os.environ.items() if not name.startswith("CONVEYOR_")
        }
        self._environment = {
            **own,
            **environment,
            "CONVEYOR_URL": f"http://127.0.0.1:{self._port}",
            "PATH": f"{programs}{os.pathsep}{os.environ['PATH']}",
            "PYTHONUNBUFFERED": "1",
        }
        self._terminals: dict[str, tuple[subprocess.Popen[bytes], Path]] = {}
        self._shown = ""
        #: The terminal whose output `shows` waits for.
        self._watched: Path | None = None

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        for name in reversed(list(self._terminals)):
            self._interrupt(name)

    def check_page(self, name: str) -> None:
        """Do what the page says. Raises `Failed`."""
        blocks = _BLOCK.findall(page(name))
        if not blocks:
            raise Failed(f"{name} has nothing to do")
        for mark, option, code in blocks:
            text = code.replace("8080", self._port)
            try:
                self._do(mark, option, text)
            except Failed as failed:
                raise Failed(f"{name}: {failed}\n{self._logs()}") from None

    def install(self, name: str) -> None:
        """Run what the page installs with."""
        for mark, _, code in _BLOCK.findall(page(name)):
            if mark == "install":
                self.shell(code)

    def save(self, files: Mapping[str, str]) -> None:
        """Save files of the folder, by their names."""
        for name, text in files.items():
            file = self._folder / name
            file.parent.mkdir(parents=True, exist_ok=True)
            file.write_text(text)

    def _do(self, mark: str, option: str, text: str) -> None:
        match mark:
            case "save":
                self.save({option: text})
            case "install":
                return
            case "shell":
                self.shell(text, 1 if option == "fails" else 0)
            case "terminal":
                self._start(option, text)
            case _:
                if option:
                    _, self._watched = self._terminals[option]
                self._expect(text)

    def shell(self, commands: str, status: int = 0) -> None:
        """Run commands to their end. Raises `Failed` if they end with another status."""
        with self._script(commands) as script:
            done = subprocess.run(
                ["bash", "-e", script],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=subprocess.PIPE,
                stderr=subprocess.STDOUT,
                text=True,
                timeout=10 * DEADLINE_SECONDS,
                check=False,
            )
        self._shown, self._watched = done.stdout, None
        if done.returncode != status:
            raise Failed(f"ended with {done.returncode}:\n{commands}\n{done.stdout}")

    @contextmanager
    def _script(self, commands: str) -> Iterator[str]:
        with tempfile.NamedTemporaryFile("w", suffix=".sh") as script:
            script.write(_SERVERS.sub(rf"\1 --port {self._port}", commands))
            script.flush()
            yield script.name

    def _start(self, terminal: str, commands: str) -> None:
        if terminal in self._terminals:
            self._interrupt(terminal)
        log = self._folder / f"terminal-{terminal}.log"
        command = _SERVERS.sub(rf"\1 --port {self._port}", commands)
        with log.open("wb") as output:
            process = subprocess.Popen(
                ["bash", "-e", "-c", command],
                cwd=self._folder,
                env=self._environment,
                stdin=subprocess.DEVNULL,
                stdout=output,
                stderr=output,
                start_new_session=True,
            )
        self._terminals[terminal] = process, log
        self._watched = log

    def _interrupt(self, terminal: str) -> None:
        """Ctrl-C."""
        process, _ = self._terminals.pop(terminal)
        if process.poll() is None:
            os.killpg(process.pid, signal.SIGINT)
        try:
            process.wait(DEADLINE_SECONDS)
        except subprocess.TimeoutExpired:
            os.killpg(process.pid, signal.SIGKILL)
            raise Failed(f"terminal {terminal} does not stop on Ctrl-C") from None

    def _expect(self, text: str) -> None:
        words = [re.escape(word) for word in text.split()]
        wanted = re.compile(r"\s+".join(words).replace(re.escape("..."), ".*?"), re.DOTALL)

        def look() -> bool:
            if self._watched is not None:
                self._shown = self._watched.read_text(errors="replace")
            return wanted.search(self._shown) is not None or self._watched is None

        with suppress(AssertionError):
            wait_until("the text", look, DEADLINE_SECONDS, self._end)
        if not wanted.search(self._shown):
            raise Failed(f"does not show:\n{text}\nbut:\n{self._shown}")

    def _end(self) -> str | None:
        return "a terminal ended" if self._has_ended() else None

    def _has_ended(self) -> bool:
        return any(process.poll() is not None for process, _ in self._terminals.values())

    def _logs(self) -> str:
        return "\n".join(
            f"-- terminal {name}\n{log.read_text(errors='replace')[-3000:]}"
            for name, (_, log) in self._terminals.items()
        )

"""A client of another language: a program that takes orders as lines of JSON and prints what it did.

- `send BOOTSTRAP` reads orders from standard input. An order has the `event`, the `topic` and `key`, the `mode` (binary
  or structured), `compression` and `partitioner`. The SDK writes the record; then the order changes it: `envelope`
  replaces attributes of a structured event, `drop` leaves out headers, `upper` writes their names in upper case, and
  `headers` adds pairs of name and value, both as base64. `base64` sends the data of a structured event as bytes.
- `participate BOOTSTRAP REQUESTS REPLIES` prints each request as the SDK reads it, and replies in the mode that the
  input's `reply` names.
- `read BOOTSTRAP TOPIC` prints each event of the topic as the SDK reads it, and ends.
"""

from __future__ import annotations

import json
import subprocess
from collections.abc import Generator, Iterable, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, TypeAlias

from tests.acceptance.programs import Program, running

Document: TypeAlias = Mapping[str, Any]

_SECONDS = 120.0


class ForeignClient:
    """The client of one language, on one broker."""

    def __init__(self, language: str, command: Sequence[str], bootstrap: str, folder: Path) -> None:
        self.language = language
        self._command = command
        self._bootstrap = bootstrap
        self._folder = folder

    def send(self, orders: Iterable[Document]) -> Sequence[Document]:
        """What became of each order: `sent` with its partition, or `failed` with the error."""
        return self._run("send", "".join(f"{json.dumps(order)}\n" for order in orders))

    def read(self, topic: str) -> Sequence[Document]:
        """`attributes` and `data` of every event on the topic, as the SDK reads them."""
        return self._run("read", "", topic)

    @contextmanager
    def participating(self, requests: str, replies: str) -> Generator[Program]:
        """A participant at work; its log has a line for each request."""
        with running(
            f"participant-{self.language}",
            *("participate", self._bootstrap, requests, replies),
            folder=self._folder,
            program=self._command,
        ) as program:
            yield program

    def _run(self, action: str, orders: str, *arguments: str) -> Sequence[Document]:
        done = subprocess.run(
            [*self._command, action, self._bootstrap, *arguments],
            input=orders,
            capture_output=True,
            text=True,
            timeout=_SECONDS,
            check=False,
        )
        assert done.returncode == 0, done.stderr
        return documents(done.stdout)


def documents(text: str) -> Sequence[Document]:
    """The lines of JSON objects among what a client printed."""
    return [json.loads(line) for line in text.splitlines() if line.startswith("{")]

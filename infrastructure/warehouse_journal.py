"""A journal of the effects of the simulated warehouse, one JSON line each."""

from __future__ import annotations

import fcntl
import os
from datetime import UTC, datetime
from pathlib import Path
from typing import Any

import orjson
from conveyor.times import rfc3339

_READ_BYTES = 1024 * 1024


class Journal:
    """An append-only file, shared by any number of processes, with one line per idempotency key.

    Looking a key up and appending its line happen under a lock on the file, so the effect is atomic
    with the key: done again by a process that took over, or that was frozen, it is done once.
    """

    def __init__(self, path: Path) -> None:
        """Raises OSError when the file cannot be written."""
        self._file = os.open(path, os.O_RDWR | os.O_APPEND | os.O_CREAT, 0o644)
        self._keys: set[str] = set()
        self._known_bytes = 0

    def do_once(self, idempotency_key: str, operation: str, attempt: int) -> bool:
        """The effect itself, with the operating system on return; False: it was there already."""
        fcntl.flock(self._file, fcntl.LOCK_EX)
        try:
            self._read_others()
            if idempotency_key in self._keys:
                return False
            line = {
                "at": rfc3339(datetime.now(UTC)),
                "idempotencyKey": idempotency_key,
                "operation": operation,
                "attempt": attempt,
            }
            self._known_bytes += os.write(
                self._file, orjson.dumps(line, option=orjson.OPT_APPEND_NEWLINE)
            )
            self._keys.add(idempotency_key)
        finally:
            fcntl.flock(self._file, fcntl.LOCK_UN)
        return True

    def _read_others(self) -> None:
        """Read the lines that other processes appended."""
        size = os.fstat(self._file).st_size
        rest = b""
        while self._known_bytes < size:
            data = os.pread(self._file, _READ_BYTES, self._known_bytes)
            *lines, rest = (rest + data).split(b"\n")
            for line in lines:
                entry: dict[str, Any] = orjson.loads(line)
                self._keys.add(entry["idempotencyKey"])
            self._known_bytes += len(data)

    def close(self) -> None:
        os.close(self._file)

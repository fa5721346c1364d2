"""The database file: held by one process, opened with the durability that the guarantees need."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from pathlib import Path

from adapters.sqlite.schema import ensure_schema

#: Pages of the write-ahead log (16 MiB) after which its content moves into the database file.
_CHECKPOINT_PAGES = 4096
_CACHE_KIB = 32_768
#: Bulk statements come in some sizes each (`writer.py`); all of them stay prepared.
_PREPARED_STATEMENTS = 256


class FileInUseError(Exception):
    """Another process holds the database file; the message names both and what to do."""

    def __init__(self, path: Path, holder: str) -> None:
        super().__init__(
            f"{path} is in use by the Conveyor process {holder or 'that just started'}: "
            "stop it, or start this one with another --db FILE"
        )


class FileLock:
    """An exclusive lock on `<path>.lock`; however the process ends, the system releases it."""

    def __init__(self, path: Path) -> None:
        """Raises `FileInUseError` when another process, or another store of this one, holds the
        file."""
        lock_path = path.with_name(path.name + ".lock")
        self._descriptor = os.open(lock_path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            holder = os.pread(self._descriptor, 20, 0).decode()
            os.close(self._descriptor)
            raise FileInUseError(path, holder) from None
        os.ftruncate(self._descriptor, 0)
        os.pwrite(self._descriptor, str(os.getpid()).encode(), 0)

    def release(self) -> None:
        os.close(self._descriptor)


def open_writer(path: Path, max_pages: int | None = None) -> sqlite3.Connection:
    """The one connection that writes; every commit on it is on disk when it returns.

    `max_pages` limits the size of the file, as a full disk would.
    """
    connection = _connect(path)
    connection.execute("PRAGMA journal_mode = WAL")
    connection.execute("PRAGMA synchronous = FULL")
    connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
    ensure_schema(connection, str(path))
    if max_pages is not None:
        connection.execute(f"PRAGMA max_page_count = {max_pages}")
    return connection


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that sees every commit made before a statement begins, and never writes."""
    connection = _connect(path)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    connection = sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_PREPARED_STATEMENTS,
    )
    connection.execute(f"PRAGMA cache_size = -{_CACHE_KIB}")
    return connection

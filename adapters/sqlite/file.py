"""The database file: locked by one process, and opened with the durability that the guarantees need."""

from __future__ import annotations

import fcntl
import os
import sqlite3
from contextlib import ExitStack, closing
from pathlib import Path
from typing import ClassVar

from adapters.sqlite.migrations import migrate
from adapters.sqlite.writer import as_unavailable

#: Pages of the write-ahead log (16 MiB) after which its content moves into the database file.
_CHECKPOINT_PAGES = 4096
_CACHE = "PRAGMA cache_size = -32768"  # KiB
#: Bulk statements come in some sizes each (`writer.py`); all of them stay prepared.
_PREPARED_STATEMENTS = 256
#: What a file of any version has.
_OWN_TABLES = frozenset(("record_batches", "commits", "instances"))


class UnusableFileError(Exception):
    """The database file cannot be opened; the message says why and what to do."""


class FileInUseError(UnusableFileError):
    """Another process holds the database file."""

    def __init__(self, path: Path, holder: int | None) -> None:
        process = "another Conveyor process" if holder is None else f"the Conveyor process {holder}"
        super().__init__(
            f"{path} is in use by {process}: stop it, or start this one with another --db FILE"
        )


class FileLock:
    """An exclusive lock on the database file itself, by whichever name it was opened.

    The operating system releases the lock however the process ends. It is a lock of the open file (`flock`), which does
    not interact with SQLite's own locks (`fcntl`). Closing the file would release all `fcntl` locks of the process.
    So it stays open as long as any connection, and a file that is held here is not opened again.
    """

    _held: ClassVar[set[tuple[int, int]]] = set()

    def __init__(self, path: Path) -> None:
        """Create the file if necessary.

        Raises `FileInUseError` if another process, or another store of this one, holds the file, and
        `UnusableFileError` if the file cannot exist.
        """
        if path.exists() and _identity(path.stat()) in self._held:
            raise FileInUseError(path, os.getpid())
        self._descriptor = _open(path)
        self._identity = _identity(os.fstat(self._descriptor))
        try:
            fcntl.flock(self._descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(self._descriptor)
            raise FileInUseError(path, _holder(self._identity)) from None
        self._held.add(self._identity)

    def release(self) -> None:
        self._held.discard(self._identity)
        os.close(self._descriptor)


def _open(path: Path) -> int:
    try:
        return os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
    except FileNotFoundError:
        raise UnusableFileError(
            f"{path}: there is no folder {path.parent}; create it, or give another --db FILE"
        ) from None
    except IsADirectoryError:
        raise UnusableFileError(
            f"{path} is a folder; --db takes a file, as {path}/conveyor.db"
        ) from None
    except OSError as fault:
        raise UnusableFileError(
            f"{path} cannot be written: {fault.strerror}; give another --db FILE"
        ) from None


def _identity(status: os.stat_result) -> tuple[int, int]:
    return status.st_dev, status.st_ino


def _holder(identity: tuple[int, int]) -> int | None:
    """The process with a lock on that file, if the system reports it (Linux)."""
    device, inode = identity
    place = f"{os.major(device):02x}:{os.minor(device):02x}:{inode}"
    try:
        lines = Path("/proc/locks").read_text().splitlines()
    except OSError:
        return None
    # 1: FLOCK  ADVISORY  WRITE 4711 08:01:1234567 0 EOF
    found = [line.split() for line in lines if " FLOCK " in line and place in line.split()]
    return int(found[0][4]) if found else None


def open_writer(path: Path, max_pages: int | None = None) -> sqlite3.Connection:
    """The only connection that writes, on a file of the newest schema. Every commit is on disk when it returns.

    `max_pages` limits the size of the file, as a full disk would. Raises `UnusableFileError`, `SetupError` on a
    file of another release that cannot be migrated, `Unavailable` on one that cannot be now.
    """
    with ExitStack() as refused:
        try:
            connection = refused.enter_context(closing(_connect(path)))
            connection.execute(_CACHE)
            _require_own(connection, path)
            connection.execute("PRAGMA journal_mode = WAL")
        except sqlite3.DatabaseError as error:
            raise UnusableFileError(f"{path}: {error}; give another --db FILE") from error
        connection.execute("PRAGMA synchronous = FULL")
        connection.execute(f"PRAGMA wal_autocheckpoint = {_CHECKPOINT_PAGES}")
        if max_pages is not None:
            connection.execute(f"PRAGMA max_page_count = {max_pages}")
        try:
            migrate(connection, path)
        except sqlite3.OperationalError as error:
            raise as_unavailable(error) from error
        # It stays open only if nothing was raised.
        refused.pop_all()
    return connection


def _require_own(connection: sqlite3.Connection, path: Path) -> None:
    """Raises `UnusableFileError` for the database of another program, before changing it."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master")}
    if tables and not tables >= _OWN_TABLES:
        raise UnusableFileError(
            f"{path} is the database of another program; give another --db FILE"
        )


def open_reader(path: Path) -> sqlite3.Connection:
    """A connection that sees every commit made before a statement begins, and never writes."""
    connection = _connect(path)
    connection.execute(_CACHE)
    connection.execute("PRAGMA query_only = ON")
    return connection


def _connect(path: Path) -> sqlite3.Connection:
    return sqlite3.connect(
        path,
        isolation_level=None,
        check_same_thread=False,
        cached_statements=_PREPARED_STATEMENTS,
    )

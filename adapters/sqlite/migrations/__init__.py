"""The embedded file's schema: one SQL file per version, applied in order.

A new file runs all of them, an older one those that it lacks, so both end with the same tables. Each is one
transaction: if the process dies or the disk is full, the file keeps the previous version. A released migration never
changes.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Mapping
from importlib.resources import files
from pathlib import Path

from application.ports import SetupError

_NEW_FILE = 0


def _scripts() -> Mapping[int, str]:
    """The SQL that leads to each version, ascending."""
    named = sorted(
        (entry.name, entry.read_text(encoding="utf-8"))
        for entry in files(__name__).iterdir()
        if entry.name.endswith(".sql")
    )
    return {int(name.partition("_")[0]): text for name, text in named}


_SCRIPTS = _scripts()
_OLDEST, SCHEMA_VERSION = min(_SCRIPTS), max(_SCRIPTS)


def migrate(connection: sqlite3.Connection, path: Path) -> None:
    """Migrate the file to this version of the schema. Raises `SetupError` if that is impossible."""
    version = _version(connection)
    if version not in (_NEW_FILE, *_SCRIPTS):
        raise _incompatible(path, version)
    for target, script in _SCRIPTS.items():
        if target > version:
            _apply(connection, target, script)


def is_new(connection: sqlite3.Connection) -> bool:
    """Whether the file has no tables yet."""
    return _version(connection) == _NEW_FILE


def require_current(connection: sqlite3.Connection, path: Path) -> None:
    """For readers. Raises `SetupError` unless the file has this version."""
    version = _version(connection)
    if version in _SCRIPTS and version != SCHEMA_VERSION:
        raise SetupError(
            f"{path} has schema version {version}: start `conveyor dev --db {path}` once, which brings"
            f" it to version {SCHEMA_VERSION}"
        )
    if version != SCHEMA_VERSION:
        raise _incompatible(path, version)


def _apply(connection: sqlite3.Connection, version: int, script: str) -> None:
    try:
        connection.executescript(
            f"BEGIN IMMEDIATE; {script} PRAGMA user_version = {version}; COMMIT;"
        )
    except BaseException:  # an interrupt must not leave a transaction open either
        if connection.in_transaction:
            connection.execute("ROLLBACK")
        raise


def _version(connection: sqlite3.Connection) -> int:
    return connection.execute("PRAGMA user_version").fetchone()[0]


def _incompatible(path: Path, version: int) -> SetupError:
    return SetupError(
        f"{path} has schema version {version}, this Conveyor reads {_OLDEST} to {SCHEMA_VERSION}:"
        " use the Conveyor that wrote it, or another --db FILE"
    )

"""The numbers of the instances (see `schema.py`)."""

from __future__ import annotations

import sqlite3
from collections.abc import Collection, Iterable, Mapping

import orjson

from adapters.sqlite.writer import Row, Statement

_FIND = "SELECT id, number FROM instances WHERE id IN (SELECT value FROM json_each(?))"
_INSERT = "INSERT INTO instances (number, id) VALUES {values} ON CONFLICT DO NOTHING"

#: How many numbers are kept in memory. When there are more, all are dropped, and looked up again as needed.
_REMEMBERED = 16_384


class Instances:
    """Gives each id its number: looked up once, or the next free one.

    A new number is *reserved* until a group that inserts it is committed. Every group that uses a reserved number
    inserts it, so it does not matter which of them is written first or fails.
    """

    def __init__(self, connection: sqlite3.Connection) -> None:
        self._connection = connection
        highest = connection.execute("SELECT coalesce(max(number), 0) FROM instances").fetchone()
        self._next = highest[0] + 1
        self._stored: dict[str, int] = {}
        self._reserved: dict[str, int] = {}

    def find(self, ids: Iterable[str]) -> Mapping[str, int]:
        """The numbers of those ids that have one, reserved ones included."""
        found: dict[str, int] = {}
        unknown: list[str] = []
        for instance_id in ids:
            number = self._stored.get(instance_id) or self._reserved.get(instance_id)
            if number is None:
                unknown.append(instance_id)
            else:
                found[instance_id] = number
        if unknown:
            if len(self._stored) > _REMEMBERED:
                self._stored.clear()
            rows = self._connection.execute(_FIND, (orjson.dumps(unknown).decode(),)).fetchall()
            self._stored.update(rows)
            found.update(rows)
        return found

    def number(self, ids: Collection[str]) -> Mapping[str, int]:
        """The numbers of all these ids. Reserves missing ones."""
        found = dict(self.find(ids))
        for instance_id in ids:
            if instance_id not in found:
                found[instance_id] = self._reserved[instance_id] = self._next
                self._next += 1
        return found

    def insertion(self, ids: Iterable[str]) -> Statement | None:
        """What a group that uses these ids must insert, if anything."""
        rows: list[Row] = [
            (number, instance_id)
            for instance_id in ids
            if (number := self._reserved.get(instance_id)) is not None
        ]
        return Statement(_INSERT, rows) if rows else None

    def committed(self, insertion: Statement) -> None:
        """The rows of this insertion are on disk."""
        for number, instance_id in insertion.rows:
            self._reserved.pop(str(instance_id), None)
            self._stored[str(instance_id)] = int(number or 0)

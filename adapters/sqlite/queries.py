"""Lists of workflows in the embedded store."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import orjson

from adapters.sqlite.store import SqliteStore
from adapters.workflow_cursor import Place, decode_cursor, encode_cursor
from application.ports import ANY_INCIDENT, NOT_LISTED, Page, WorkflowFilter
from domain.workflow.status import WorkflowStatus

_PATHS = ", ".join(f"'$.{name}'" for name in NOT_LISTED)
_LISTED = f"json_remove(document, {_PATHS})"
_COUNT = "SELECT status, count(*) FROM workflows WHERE status IS NOT NULL GROUP BY status"
_OPEN_INCIDENTS = """
SELECT coalesce(sum(json_array_length(incidents)), 0) FROM workflows WHERE incidents IS NOT NULL
"""

#: Of workflows whose start names none.
DEFAULT_TENANT = "default"

_ACTIVE = tuple(status.value for status in WorkflowStatus if status.is_active)

_Condition = tuple[str, list[Any]]


class SqliteWorkflowQueries:
    """`WorkflowQueries` on the table `workflows`; items come without steps, inputs and outputs."""

    def __init__(self, store: SqliteStore) -> None:
        self._store = store

    async def find(
        self,
        filter: WorkflowFilter,
        limit: int,
        cursor: str | None,
    ) -> Page:
        conditions = _conditions(filter)
        if cursor is not None:
            place = decode_cursor(cursor)
            beyond = ">" if filter.ascending else "<"
            values = [place.started_at or "", place.workflow_id]
            conditions.append((f"(started_at, id) {beyond} (?, ?)", values))
        where = " AND ".join(sql for sql, _ in conditions)
        parameters = [value for _, values in conditions for value in values]
        order = "ASC" if filter.ascending else "DESC"
        rows = await self._store.query(
            f"SELECT started_at, id, {_LISTED} FROM workflows WHERE {where}"  # noqa: S608 - no values
            f" ORDER BY started_at {order}, id {order} LIMIT ?",
            [*parameters, limit + 1],
        )
        shown = rows[:limit]
        next_cursor = None
        if len(rows) > limit:
            next_cursor = encode_cursor(Place(shown[-1][0] or None, shown[-1][1]))
        return Page([orjson.loads(row[2]) for row in shown], next_cursor)

    async def count_by_status(self) -> Mapping[str, int]:
        return dict(await self._store.query(_COUNT, ()))

    async def open_incidents(self) -> int:
        [(count,)] = await self._store.query(_OPEN_INCIDENTS, ())
        return count


def _conditions(wanted: WorkflowFilter) -> list[_Condition]:
    conditions: list[_Condition] = [("status IS NOT NULL", [])]
    if wanted.status:
        conditions.append(_one_of("status", wanted.status))
    if wanted.active is not None:
        sql, values = _one_of("status", _ACTIVE)
        conditions.append((sql if wanted.active else f"NOT {sql}", values))
    compared = {
        "type = ?": wanted.type,
        "definition = ?": wanted.definition,
        "correlation_id = ?": wanted.correlation_id,
        "user_id = ?": wanted.user_id,
        "wallet = ?": wanted.wallet,
        "tenant = ?": wanted.tenant,
        "started_at > ?": wanted.started_after,
        "started_at <> '' AND started_at < ?": wanted.started_before,
    }
    conditions.extend((sql, [value]) for sql, value in compared.items() if value is not None)
    if wanted.tenant not in (None, DEFAULT_TENANT):
        # What the index is for; a value that is bound does not show that it is another one.
        conditions.append((f"tenant <> '{DEFAULT_TENANT}'", []))
    for name, value in wanted.labels:
        # json_each, not a path, because names may hold dots and quotes.
        label = (
            "EXISTS (SELECT 1 FROM json_each(labels) AS label WHERE label.key = ? AND value = ?)"
        )
        conditions.append((label, [name, value]))
    if wanted.incident is not None:
        conditions.append(("incidents IS NOT NULL", []))
        if wanted.incident != ANY_INCIDENT:
            code = "EXISTS (SELECT 1 FROM json_each(incidents) AS code WHERE code.value = ?)"
            conditions.append((code, [wanted.incident]))
    return conditions


def _one_of(column: str, values: tuple[str, ...]) -> _Condition:
    return f"{column} IN ({','.join('?' * len(values))})", list(values)

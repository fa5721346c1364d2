"""Leases in the embedded store. Those of a process that died expire as in any other store."""

from __future__ import annotations

import secrets

from adapters.sqlite.store import SqliteStore
from adapters.sqlite.writer import Row, Statement
from application.ports import Clock, Lease

_ACQUIRE = """
INSERT INTO leases (name, holder, fencing_token, held_until_ms) VALUES (?, ?, 1, ?)
ON CONFLICT DO UPDATE SET
    holder = excluded.holder, fencing_token = fencing_token + 1, held_until_ms = excluded.held_until_ms
WHERE held_until_ms <= ?
"""
_GRANTED = "SELECT fencing_token FROM leases WHERE name = ? AND holder = ?"
_HOLD = "UPDATE leases SET held_until_ms = ? WHERE name = ? AND holder = ? AND held_until_ms > ?"


class SqliteLocks:
    """`Locks` on the table `leases`."""

    def __init__(self, store: SqliteStore, owner: str, clock: Clock) -> None:
        self._store = store
        self._owner = owner
        self._clock = clock

    async def acquire(self, name: str, lease_ms: int) -> Lease | None:
        holder = f"{self._owner}:{secrets.token_hex(16)}"
        now_ms = self._now_ms()
        if not await self._write(_ACQUIRE, (name, holder, now_ms + lease_ms, now_ms)):
            return None
        rows = await self._store.query(_GRANTED, (name, holder))
        # None if it expired before it was looked up and another owner has it.
        return Lease(name=name, holder=holder, fencing_token=rows[0][0]) if rows else None

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        return await self._hold(lease, lease_ms)

    async def release(self, lease: Lease) -> bool:
        return await self._hold(lease, 0)

    async def _hold(self, lease: Lease, lease_ms: int) -> bool:
        """Extend the lease to this time from now, if it has not expired."""
        now_ms = self._now_ms()
        return await self._write(_HOLD, (now_ms + lease_ms, lease.name, lease.holder, now_ms))

    async def _write(self, sql: str, row: Row) -> bool:
        return await self._store.write([Statement(sql, [row])]) == [1]

    def _now_ms(self) -> int:
        return round(self._clock.now().timestamp() * 1000)

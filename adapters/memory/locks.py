"""Leases in memory, on the time of a clock."""

from __future__ import annotations

import itertools
from dataclasses import dataclass, field
from datetime import datetime, timedelta

from application.ports import Clock, Lease


@dataclass(slots=True)
class MemoryLeases:
    """The state that the locks of all owners share."""

    #: The newest lease of each name, and when it expires.
    held: dict[str, tuple[Lease, datetime]] = field(
        default_factory=dict[str, tuple[Lease, datetime]]
    )
    numbers: itertools.count[int] = field(default_factory=lambda: itertools.count(1))


class MemoryLocks:
    """`Locks` of one owner."""

    def __init__(self, leases: MemoryLeases, owner: str, clock: Clock) -> None:
        self._leases = leases
        self._owner = owner
        self._clock = clock

    async def acquire(self, name: str, lease_ms: int) -> Lease | None:
        now = self._clock.now()
        newest = self._leases.held.get(name)
        if newest is not None and newest[1] > now:
            return None
        number = next(self._leases.numbers)
        lease = Lease(name=name, holder=f"{self._owner}:{number}", fencing_token=number)
        self._leases.held[name] = (lease, now + timedelta(milliseconds=lease_ms))
        return lease

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        return self._hold(lease, timedelta(milliseconds=lease_ms))

    async def release(self, lease: Lease) -> bool:
        return self._hold(lease, timedelta())

    def _hold(self, lease: Lease, time: timedelta) -> bool:
        """Extend the lease to this time from now, if it has not expired."""
        now = self._clock.now()
        newest, until = self._leases.held.get(lease.name, (None, now))
        if newest != lease or until <= now:
            return False
        self._leases.held[lease.name] = (lease, now + time)
        return True

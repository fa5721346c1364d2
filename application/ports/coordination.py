"""Locks with a lease: for what one process at a time may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lock that was granted, for a time."""

    name: str
    #: `<owner>:<random>`, different for every grant.
    holder: str
    #: Grows with every grant of this name.
    fencing_token: int


class Locks(Protocol):
    """Leases on names, for one owner.

    A lease can run out while its holder stalls. Whatever must be safe against that checks the fencing token.
    Guarantees between workflows rest on the event log instead (PROTOCOL rule 19).
    """

    async def acquire(self, name: str, lease_ms: int) -> Lease | None:
        """The lease, or None while one is held, by this owner too. Raises `Unavailable`."""
        ...

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        """Hold it for that long from now; False if it ran out and is lost. Raises `Unavailable`."""
        ...

    async def release(self, lease: Lease) -> bool:
        """Give it back; False if it ran out before. Never touches another lease. Raises `Unavailable`."""
        ...

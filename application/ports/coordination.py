"""Locks with a lease, for work that one process at a time may do."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol


@dataclass(frozen=True, slots=True, kw_only=True)
class Lease:
    """A lock that was granted for a limited time."""

    name: str
    #: `<owner>:<random>`, different for every grant.
    holder: str
    #: Increases with every grant of this name.
    fencing_token: int


class Locks(Protocol):
    """Leases on names, for one owner.

    A lease can expire while its holder is stalled. Code that must be safe against that checks the fencing token.
    Guarantees between workflows rely on the event log instead (PROTOCOL rule 19).
    """

    async def acquire(self, name: str, lease_ms: int) -> Lease | None:
        """The lease, or None while one is held, even by this owner. Raises `Unavailable`."""
        ...

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        """Extend the lease to this time from now. Returns False if it expired and is lost. Raises `Unavailable`."""
        ...

    async def release(self, lease: Lease) -> bool:
        """Release the lease. Returns False if it had expired. Never touches another lease. Raises `Unavailable`."""
        ...

"""Key stores: where a participant remembers its idempotency keys."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Protocol

from conveyor.keys import KeyRecord, abandoned


class KeyStore(Protocol):
    """One record per idempotency key, held by one process at a time.

    Records outlive the retention of the request topics plus the longest workflow time-out.
    Every method may raise `ServerUnavailableError`; the same call is then made again.
    """

    async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
        """Hold each key for this process until it is saved, and return its record.

        The value is the attempt that may be begun (0: none): the claim, which is durable when this
        returns. If this process dies before `save`, the next process finds the claim in
        `KeyRecord.claimed`. A key that another live process holds is left out.
        """
        ...

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        """Write the records of held keys, all claims resolved, and let the keys go.

        They are durable at the latest when the `Transport.finish` that follows returns. Returns the
        keys that this process no longer held; their records stay as they are.
        """
        ...

    async def close(self) -> None:
        """Keys still held stay claimed."""
        ...


class MemoryKeyStore:
    """Records for the life of one process: for tests, and for handlers without effects."""

    def __init__(self) -> None:
        self._records: dict[str, KeyRecord] = {}
        self._held: dict[str, int] = {}

    async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
        free = {key: attempt for key, attempt in claims.items() if key not in self._held}
        self._held.update(free)
        return {key: self._records.get(key, _NONE) for key in free}

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        lost = frozenset(records.keys() - self._held.keys())
        for key, record in records.items():
            if self._held.pop(key, None) is not None:
                self._records[key] = record
        return lost

    async def close(self) -> None:
        """As if the process had died: held keys become unresolved claims."""
        for key, attempt in self._held.items():
            record = self._records.get(key, _NONE)
            self._records[key] = abandoned(record, attempt)
        self._held.clear()


_NONE = KeyRecord()

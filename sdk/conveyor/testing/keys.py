"""The key records of a participant, which its processes share."""

from __future__ import annotations

from collections.abc import Iterable, Mapping

from conveyor.keys import KeyRecord, abandoned


class Records:
    """One record per idempotency key, and the process that holds it with the attempt that it claims."""

    def __init__(self) -> None:
        self.records: dict[str, KeyRecord] = {}
        self.holders: dict[str, tuple[ProcessKeys, int]] = {}

    def record(self, key: str) -> KeyRecord:
        return self.records.get(key, _NONE)

    def abandon(self, key: str) -> None:
        """Take the key from its holder, as when that is silent for too long; its claim stays."""
        held = self.holders.pop(key, None)
        if held is not None:
            self.records[key] = abandoned(self.record(key), held[1])


class ProcessKeys:
    """The `KeyStore` of one process."""

    def __init__(self, shared: Records) -> None:
        self._shared = shared
        #: Keys that another process has, since `take_refused` was last called.
        self._refused: set[str] = set()

    def take_refused(self) -> Iterable[str]:
        refused, self._refused = self._refused, set()
        return refused

    async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
        holders = self._shared.holders
        free = {key: attempt for key, attempt in claims.items() if key not in holders}
        self._refused.update(claims.keys() - free.keys())
        holders.update({key: (self, attempt) for key, attempt in free.items()})
        return {key: self._shared.record(key) for key in free}

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        lost = frozenset(key for key in records if not self._holds(key))
        self._refused.update(lost)
        for key in records.keys() - lost:
            del self._shared.holders[key]
            self._shared.records[key] = records[key]
        return lost

    async def close(self) -> None:
        """The process ends, and what it holds stays claimed."""
        for key in [key for key in self._shared.holders if self._holds(key)]:
            self._shared.abandon(key)

    def _holds(self, key: str) -> bool:
        holder = self._shared.holders.get(key)
        return holder is not None and holder[0] is self


_NONE = KeyRecord()

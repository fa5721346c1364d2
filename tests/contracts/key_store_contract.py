"""What every `KeyStore` promises."""

from __future__ import annotations

from abc import ABC, abstractmethod
from uuid import uuid4

import pytest
from conveyor.key_store import KeyStore
from conveyor.keys import Failure, KeyRecord, KeyState, failed, performed


@pytest.mark.contract
class KeyStoreContract(ABC):
    """Subclass it, and give the fixture `store`; override `commit` if need be."""

    @pytest.fixture
    @abstractmethod
    async def store(self) -> KeyStore:
        """An open store."""

    async def commit(self, store: KeyStore) -> None:
        """Do what a transport's `finish` does for what was saved; nothing where a save is durable."""
        return

    async def test_an_unknown_key_is_empty(self, store: KeyStore) -> None:
        """A key never seen has no effect, no failure and no claim."""
        key = new_key()

        opened = await store.open({key: 1})

        assert opened == {key: KeyRecord()}

    async def test_saved_records_come_back(self, store: KeyStore) -> None:
        """Records of every state are read as they were saved."""
        records = {
            new_key(): performed(2, b'{"id":7}', snapshot=b'{"was":1}', execution_time_ms=3),
            new_key(): failed(3, Failure("X", "no", "BUSINESS_RULE_VIOLATION", retryable=False)),
            new_key(): KeyRecord(state=KeyState.SEALED),
            new_key(): KeyRecord(claimed=2),
        }

        await store.open(dict.fromkeys(records, 4))
        lost = await store.save(records)
        await self.commit(store)

        assert lost == frozenset()
        assert await store.open(dict.fromkeys(records, 0)) == records

    async def test_a_saved_claim_is_resolved(self, store: KeyStore) -> None:
        """After a save nothing is left of the attempt that was claimed."""
        key = new_key()

        await store.open({key: 1})
        await store.save({key: KeyRecord()})
        await self.commit(store)

        assert (await store.open({key: 2}))[key].claimed == 0

    async def test_a_later_save_wins(self, store: KeyStore) -> None:
        """A key is opened and saved again and again."""
        key = new_key()
        for attempt in (1, 2):
            await store.open({key: attempt})
            await store.save({key: failed(attempt, Failure("X", "", "INTERNAL", True))})
            await self.commit(store)

        assert (await store.open({key: 3}))[key].attempt == 2

    async def test_nothing_is_saved_without_a_hold(self, store: KeyStore) -> None:
        """A record whose key is not held is refused and named; the others are written."""
        held, not_held = new_key(), new_key()
        await store.open({held: 1})

        lost = await store.save({held: performed(1, b"{}"), not_held: performed(1, b"{}")})
        await self.commit(store)

        assert lost == {not_held}
        opened = await store.open({held: 0, not_held: 0})
        assert opened[held].state is KeyState.PERFORMED
        assert opened[not_held] == KeyRecord()

    async def test_bulk(self, store: KeyStore) -> None:
        """Thousands of keys go through in one call each."""
        records = {new_key(): performed(1, b'{"n":%d}' % n) for n in range(2_500)}

        assert len(await store.open(dict.fromkeys(records, 1))) == len(records)
        assert await store.save(records) == frozenset()
        await self.commit(store)

        assert await store.open(dict.fromkeys(records, 0)) == records

    async def test_nothing_at_all(self, store: KeyStore) -> None:
        """Empty calls answer nothing."""
        assert await store.open({}) == {}
        assert await store.save({}) == frozenset()


def new_key() -> str:
    """A key that no other test uses."""
    return f"{uuid4()}/step/1"

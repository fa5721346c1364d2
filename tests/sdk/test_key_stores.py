"""The key stores: the common contract, and what several processes on one Redis may rely on."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from datetime import timedelta

import pytest
from conveyor.errors import ServerUnavailableError
from conveyor.key_store import MemoryKeyStore
from conveyor.keys import Failure, KeyRecord, KeyState, failed, performed
from conveyor.redis_keys import RedisKeyStore
from redis.asyncio import Redis

from tests.contracts.key_store_contract import KeyStoreContract, new_key

#: Long enough that a busy machine renews in time.
SHORT = timedelta(seconds=1)


class TestMemoryKeyStore(KeyStoreContract):
    @pytest.fixture
    async def store(self) -> MemoryKeyStore:
        return MemoryKeyStore()


@pytest.mark.redis
class TestRedisKeyStore(KeyStoreContract):
    @pytest.fixture
    async def store(self, redis_url: str) -> AsyncIterator[RedisKeyStore]:
        store = RedisKeyStore(redis_url)
        yield store
        await store.close()


async def test_memory_close_leaves_claims() -> None:
    """What a stopped process had begun is found as a claim."""
    store = MemoryKeyStore()
    key = new_key()
    await store.open({key: 2})

    await store.close()

    assert (await store.open({key: 2}))[key].claimed == 2


@pytest.mark.redis
class TestTwoProcesses:
    @pytest.fixture
    async def first(self, redis_url: str) -> AsyncIterator[RedisKeyStore]:
        store = RedisKeyStore(redis_url, lease=SHORT)
        yield store
        await store.close()

    @pytest.fixture
    async def second(self, redis_url: str) -> AsyncIterator[RedisKeyStore]:
        store = RedisKeyStore(redis_url, lease=SHORT)
        yield store
        await store.close()

    async def test_one_holder_at_a_time(self, first: RedisKeyStore, second: RedisKeyStore) -> None:
        """A key that one process holds is absent for the other until it is saved."""
        key, free = new_key(), new_key()
        await first.open({key: 1})

        while_held = await second.open({key: 1, free: 1})
        await first.save({key: performed(1, b'{"by":"first"}')})
        after = await second.open({key: 1})

        assert set(while_held) == {free}
        assert after[key].output == b'{"by":"first"}'
        assert after[key].claimed == 0

    async def test_a_living_holder_keeps_its_key(
        self, first: RedisKeyStore, second: RedisKeyStore
    ) -> None:
        """A handler may take longer than the lease: its process renews the hold."""
        key = new_key()
        await first.open({key: 1})
        loop = asyncio.get_running_loop()
        started = loop.time()

        while loop.time() < started + 2.5 * SHORT.total_seconds():
            assert await second.open({key: 1}) == {}

        assert await first.save({key: performed(1, b"{}")}) == frozenset()

    async def test_a_dead_holder_leaves_a_claim(
        self, first: RedisKeyStore, second: RedisKeyStore
    ) -> None:
        """After the lease another process gets the key, and learns what was begun under it."""
        key, copy, seal = new_key(), new_key(), new_key()
        failure = failed(1, Failure("X", "", "INTERNAL", retryable=True))
        await first.open({key: 1, copy: 1})
        await first.save({key: failure, copy: failure})
        await first.open({key: 2, copy: 1, seal: 0})
        await first.close()

        opened: dict[str, KeyRecord] = {}
        async with asyncio.timeout(30):
            while len(opened) < 3:
                opened |= await second.open({key: 3, copy: 1, seal: 0})

        assert opened[key].claimed == 2
        assert (opened[key].state, opened[key].attempt) == (KeyState.FAILED, 1)
        assert opened[copy] == failure
        assert opened[seal] == KeyRecord()

    async def test_a_claim_is_lost_only_once_resolved(
        self, redis_url: str, first: RedisKeyStore, second: RedisKeyStore
    ) -> None:
        """A claim outlives a second death, of a process that only looked."""
        key = new_key()
        await first.open({key: 4})
        await first.close()
        async with asyncio.timeout(30):
            while not await second.open({key: 0}):
                pass
        await second.close()
        third = RedisKeyStore(redis_url)

        async with asyncio.timeout(30):
            while not (opened := await third.open({key: 1})):
                pass
        await third.close()

        assert opened[key].claimed == 4

    async def test_a_frozen_holder_is_fenced(self, redis_url: str, second: RedisKeyStore) -> None:
        """Who lost a key cannot save it any more, and is told which one."""
        key, kept = new_key(), new_key()
        frozen = RedisKeyStore(redis_url, lease=timedelta(milliseconds=1))
        await frozen.open({key: 1, kept: 1})
        stop_renewing(frozen)
        async with asyncio.timeout(30):
            while not await second.open({key: 1}):
                pass
        await second.save({key: performed(1, b'{"by":"second"}')})

        lost = await frozen.save({key: performed(1, b'{"by":"frozen"}'), kept: KeyRecord()})
        await frozen.close()

        assert lost == {key}
        assert (await second.open({key: 1}))[key].output == b'{"by":"second"}'

    async def test_repeating_an_open_is_no_lost_claim(self, first: RedisKeyStore) -> None:
        """An open whose answer got lost is repeated, without taking its own claim for a dead one's."""
        key = new_key()

        await first.open({key: 1})
        again = await first.open({key: 1})

        assert again == {key: KeyRecord()}

    async def test_records_expire(self, redis_url: str) -> None:
        """Records carry the configured expiry, under the documented key."""
        key = new_key()
        store = RedisKeyStore(redis_url, expiry=timedelta(days=3))
        await store.open({key: 1})
        await store.save({key: performed(1, b"{}")})
        await store.close()
        redis = Redis.from_url(redis_url)

        remaining = await redis.ttl(f"workflow:idempotency:{key}")
        await redis.aclose()

        assert timedelta(days=2).total_seconds() < remaining <= timedelta(days=3).total_seconds()


def stop_renewing(store: RedisKeyStore) -> None:
    assert store._renewing is not None
    store._renewing.cancel()


async def test_redis_away() -> None:
    """Without a server every call says so, with its component."""
    store = RedisKeyStore("redis://127.0.0.1:1")

    with pytest.raises(ServerUnavailableError) as refused:
        await store.open({new_key(): 1})
    with pytest.raises(ServerUnavailableError):
        await store.save({new_key(): KeyRecord()})
    await store.close()

    assert refused.value.component == "redis"

"""Leases in Redis."""

from __future__ import annotations

import pytest
from redis.asyncio import Redis

from adapters.redis.connection import connect
from adapters.redis.locks import RedisLocks
from application.ports import Unavailable
from tests.contracts.locks_contract import LONG_MS, NAME, LocksContract, LocksOf, acquired

pytestmark = pytest.mark.redis


class TestRedisLocks(LocksContract):
    @pytest.fixture
    def locks_of(self, client: Redis) -> LocksOf:
        return lambda owner: RedisLocks(client, owner)


async def test_the_key_shows_its_holder(client: Redis) -> None:
    """Others see owner and token under the lock's own name, with the lease as its time to live."""
    lease = await acquired(RedisLocks(client, "engine-1"))

    assert await client.get(NAME) == lease.holder.encode()
    assert lease.holder.startswith("engine-1:")
    assert LONG_MS - 10_000 < await client.pttl(NAME) <= LONG_MS


async def test_renewal_extends_the_lease(client: Redis) -> None:
    """Of the key, from now on."""
    locks = RedisLocks(client, "engine-1")
    lease = await acquired(locks, 5_000)

    assert await locks.renew(lease, LONG_MS) is True

    assert await client.pttl(NAME) > 5_000


async def test_a_redis_that_is_away_is_reported() -> None:
    """Never taken for a lock that is free or held."""
    async with connect("redis://127.0.0.1:1") as nowhere:
        with pytest.raises(Unavailable):
            await RedisLocks(nowhere, "engine-1").acquire(NAME, LONG_MS)

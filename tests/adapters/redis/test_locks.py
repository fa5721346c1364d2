"""Leases in Redis."""

from __future__ import annotations

import asyncio

import pytest
from redis.asyncio import Redis

from adapters.redis.connection import connect
from adapters.redis.locks import Lease, RedisLocks
from application.ports import Unavailable

pytestmark = pytest.mark.redis

NAME = "conveyor:leader:maintenance"
LONG_MS = 60_000
SHORT_MS = 20


async def acquired(locks: RedisLocks, lease_ms: int) -> Lease:
    lease = await locks.acquire(NAME, lease_ms)
    assert lease is not None
    return lease


async def acquired_in_time(locks: RedisLocks) -> Lease:
    """The lease, as soon as whoever holds it lets it run out."""
    async with asyncio.timeout(30):
        while True:
            if (lease := await locks.acquire(NAME, LONG_MS)) is not None:
                return lease


async def test_one_holder_at_a_time(client: Redis) -> None:
    """Of many who ask at once one gets it; nobody else until it is released, the owner included."""
    locks = [RedisLocks(client, f"engine-{number}") for number in range(5)]

    leases = await asyncio.gather(*(lock.acquire(NAME, LONG_MS) for lock in locks))

    [lease] = [lease for lease in leases if lease is not None]
    holder = locks[leases.index(lease)]
    assert await holder.acquire(NAME, LONG_MS) is None
    assert await holder.release(lease) is True
    assert await locks[0].acquire(NAME, LONG_MS) is not None


async def test_names_are_apart(client: Redis) -> None:
    """Another name is another lock."""
    locks = RedisLocks(client, "engine-1")
    await acquired(locks, LONG_MS)

    assert await locks.acquire("conveyor:leader:schedules", LONG_MS) is not None


async def test_the_key_shows_its_holder(client: Redis) -> None:
    """Others see owner and token under the lock's own name, with the lease as its time to live."""
    lease = await acquired(RedisLocks(client, "engine-1"), LONG_MS)

    assert await client.get(NAME) == lease.holder.encode()
    assert lease.holder.startswith("engine-1:")
    assert LONG_MS - 10_000 < await client.pttl(NAME) <= LONG_MS


async def test_fencing_tokens_grow(client: Redis) -> None:
    """Every grant has a higher token than the ones before, after release and after expiry."""
    first, second = RedisLocks(client, "engine-1"), RedisLocks(client, "engine-2")

    one = await acquired(first, LONG_MS)
    await first.release(one)
    two = await acquired(second, SHORT_MS)
    three = await acquired_in_time(first)

    assert one.fencing_token < two.fencing_token < three.fencing_token


async def test_a_lease_runs_out(client: Redis) -> None:
    """Its holder can neither renew nor release it then, and does not disturb the next one."""
    first, second = RedisLocks(client, "engine-1"), RedisLocks(client, "engine-2")
    lost = await acquired(first, SHORT_MS)
    lease = await acquired_in_time(second)

    assert await first.renew(lost, LONG_MS) is False
    assert await first.release(lost) is False
    assert await second.renew(lease, LONG_MS) is True


async def test_renewal_extends_the_lease(client: Redis) -> None:
    """From now on, by the time given."""
    locks = RedisLocks(client, "engine-1")
    lease = await acquired(locks, 5_000)

    assert await locks.renew(lease, LONG_MS) is True

    assert await client.pttl(NAME) > 5_000


async def test_a_released_lease_is_gone(client: Redis) -> None:
    """It cannot be renewed or released again."""
    locks = RedisLocks(client, "engine-1")
    lease = await acquired(locks, LONG_MS)
    await locks.release(lease)

    assert await locks.renew(lease, LONG_MS) is False
    assert await locks.release(lease) is False


async def test_a_redis_that_is_away_is_reported() -> None:
    """Never taken for a lock that is free or held."""
    async with connect("redis://127.0.0.1:1") as nowhere:
        with pytest.raises(Unavailable):
            await RedisLocks(nowhere, "engine-1").acquire(NAME, LONG_MS)

"""Leases in Redis, for leader election and for other systems that use the same names."""

from __future__ import annotations

import secrets
from collections.abc import Awaitable
from typing import cast

from redis.asyncio import Redis

from adapters.redis.connection import reaching_redis
from application.ports import Lease

_ACQUIRE = """
if redis.call('SET', KEYS[1], ARGV[1], 'NX', 'PX', ARGV[2]) then
  return redis.call('INCR', KEYS[2])
end
return 0
"""
_RENEW = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('PEXPIRE', KEYS[1], ARGV[2])
end
return 0
"""
_RELEASE = """
if redis.call('GET', KEYS[1]) == ARGV[1] then
  return redis.call('DEL', KEYS[1])
end
return 0
"""


class RedisLocks:
    """`Locks`: a name is the whole Redis key, `<name>:fence` counts its grants for good."""

    def __init__(self, client: Redis, owner: str) -> None:
        self._owner = owner
        self._acquire = client.register_script(_ACQUIRE)
        self._renew = client.register_script(_RENEW)
        self._release = client.register_script(_RELEASE)

    async def acquire(self, name: str, lease_ms: int) -> Lease | None:
        holder = f"{self._owner}:{secrets.token_hex(16)}"
        with reaching_redis():
            granted = self._acquire([name, f"{name}:fence"], [holder, lease_ms])
            token = await cast("Awaitable[int]", granted)
        return Lease(name=name, holder=holder, fencing_token=token) if token else None

    async def renew(self, lease: Lease, lease_ms: int) -> bool:
        with reaching_redis():
            renewed = self._renew([lease.name], [lease.holder, lease_ms])
            return await cast("Awaitable[int]", renewed) == 1

    async def release(self, lease: Lease) -> bool:
        with reaching_redis():
            released = self._release([lease.name], [lease.holder])
            return await cast("Awaitable[int]", released) == 1

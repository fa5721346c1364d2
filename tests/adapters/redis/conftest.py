"""A client of database 15, emptied for each test, of the Redis that all tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator

import pytest
from redis.asyncio import Redis

from adapters.redis.connection import connect


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url, database=15) as client:
        await client.flushdb()
        yield client

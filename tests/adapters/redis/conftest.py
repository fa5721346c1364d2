"""A client of database 15, emptied for each test, of the Redis that all tests share."""

from __future__ import annotations

from collections.abc import AsyncIterator, Iterator

import pytest
from redis.asyncio import Redis

from adapters.redis.connection import connect
from deploy.local_services.redis_server import start_redis
from tests.waiting import eventually


@pytest.fixture
async def client(redis_url: str) -> AsyncIterator[Redis]:
    async with connect(redis_url, database=15) as client:
        await client.flushdb()
        yield client


@pytest.fixture(scope="session")
def cluster_url() -> Iterator[str]:
    """A Redis that is a cluster's only node."""
    with start_redis(options=("--cluster-enabled", "yes")) as node:
        yield node.address


@pytest.fixture
async def cluster(cluster_url: str) -> AsyncIterator[Redis]:
    """A client of a cluster whose one node has all slots."""
    async with connect(cluster_url) as client:

        async def is_ok() -> bool:
            return "cluster_state:ok" in str(await client.execute_command("CLUSTER", "INFO"))

        if not await is_ok():
            await client.execute_command("CLUSTER", "ADDSLOTSRANGE", 0, 16383)
        await eventually(is_ok)
        await client.flushdb()
        yield client

"""An empty database with the indexes of `init`, on the MongoDB that all tests share."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator

import pytest

from adapters.mongodb.connection import Database, connect
from adapters.mongodb.schema import ensure_schema


@pytest.fixture
async def database(mongo_uri: str) -> AsyncIterator[Database]:
    async with connect(mongo_uri) as client:
        name = f"test-{uuid.uuid4()}"
        await ensure_schema(client[name])
        yield client[name]
        await client.drop_database(name)

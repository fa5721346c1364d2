"""What no projection has yet is read in few steps."""

from __future__ import annotations

import uuid

import pytest
from pymongo import AsyncMongoClient

from adapters.mongodb.event_log import MongoEventLog
from adapters.mongodb.schema import ensure_schema
from application.ports import Document
from tests.adapters.mongodb.test_deployments import Heard
from tests.contracts.samples import commit

pytestmark = pytest.mark.mongo


async def test_the_claims_of_many_takeovers_that_failed_are_not_read_one_by_one(
    mongo_uri: str,
) -> None:
    """A crash loop leaves one per attempt; the takeover that succeeds in the end must not last for ever."""
    heard = Heard()
    claims = [commit("inbox:0", number) for number in range(1, 2_001)]
    async with AsyncMongoClient[Document](mongo_uri, event_listeners=[heard]) as client:
        database = client[f"test-{uuid.uuid4()}"]
        await ensure_schema(database)
        log = MongoEventLog(database)
        await log.append(claims)

        chains = await log.read({"inbox:0": 0, "inbox:1": 0})
        await client.drop_database(database)

    assert list(chains["inbox:0"]) == claims
    assert len(heard.read_concerns) < 20

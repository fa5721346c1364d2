"""Hot state in Redis: the contract, and what others find under the keys (CONTRACT 4)."""

from __future__ import annotations

import orjson
import pytest
from redis.asyncio import Redis
from redis.crc import key_slot

from adapters.redis.connection import connect
from adapters.redis.hot_state import LOCK_SECONDS, STATE_SECONDS, RedisHotState, _ended
from application.ports import Document, Unavailable
from tests.contracts.hot_state_contract import OWNER, HotStateContract, HotStateSite
from tests.contracts.samples import workflow

pytestmark = pytest.mark.redis


def text(value: bytes | str) -> str:
    return value.decode() if isinstance(value, bytes) else value


class RedisSite(HotStateSite):
    def __init__(self, client: Redis) -> None:
        self.hot_state = RedisHotState(client, OWNER)
        self._client = client

    async def state(self, workflow_id: str) -> Document | None:
        document = await self._client.hget(f"workflow:state:{workflow_id}", "document")
        return None if document is None else orjson.loads(document)

    async def lock(self, workflow_id: str) -> str | None:
        holder = await self._client.get(f"workflow:lock:{workflow_id}")
        return None if holder is None else text(holder)


class TestRedisHotState(HotStateContract):
    @pytest.fixture
    def site(self, client: Redis) -> RedisSite:
        return RedisSite(client)


class TestRedisClusterHotState(HotStateContract):
    """On the one node of a cluster, which refuses every call that spans slots."""

    @pytest.fixture
    async def site(self, cluster: Redis) -> RedisSite:
        return RedisSite(cluster)


@pytest.mark.parametrize("key", ["workflow:state:wf-1", "workflow:lock:order:4711"])
def test_a_key_and_its_end_are_in_one_slot(key: str) -> None:
    """The keys of CONTRACT 4 have no hash tag; what belongs to one takes it whole as its tag."""
    assert key_slot(_ended(key).encode()) == key_slot(key.encode())


async def test_the_hash_shows_the_wanted_fields(client: Redis) -> None:
    """Status, version and the like can be read without the document; null is an empty string."""
    document = workflow("wf-1", 7, currentStepId=None)

    await RedisHotState(client, OWNER).save([document])

    stored = await client.hgetall("workflow:state:wf-1")
    fields = {text(name): text(value) for name, value in stored.items()}
    assert orjson.loads(fields.pop("document")) == document
    assert fields == {
        "version": "7",
        "status": "EXECUTING",
        "workflowType": "ORDER_FULFILLMENT",
        "definition": "order-fulfillment",
        "definitionVersion": "1",
        "priority": "NORMAL",
        "correlationId": "corr-wf-1",
        "currentStepId": "",
        "progress": "20",
        "partition": "0",
        "updatedAt": "2026-11-21T02:30:00.123Z",
    }


async def test_many_documents_are_one_call(client: Redis) -> None:
    """A call costs more than a write; only a cluster needs one for each."""
    hot_state = RedisHotState(client, OWNER)
    await hot_state.save([workflow("wf-0")])
    await client.config_resetstat()

    await hot_state.save([workflow(f"wf-{number}", 2) for number in range(100)])

    statistics = await client.info("commandstats")
    assert statistics["cmdstat_evalsha"]["calls"] == 1


async def test_keys_expire(client: Redis) -> None:
    """The lock after five minutes, the state after a day, the memory of an end like the lock."""
    hot_state = RedisHotState(client, OWNER)

    await hot_state.save([workflow("wf-1"), workflow("wf-2", 2, status="COMPLETED")])

    assert LOCK_SECONDS == 300
    assert LOCK_SECONDS - 10 < await client.ttl("workflow:lock:wf-1") <= LOCK_SECONDS
    assert STATE_SECONDS - 10 < await client.ttl("workflow:state:wf-1") <= STATE_SECONDS
    assert LOCK_SECONDS - 10 < await client.ttl("{workflow:state:wf-2}:ended") <= LOCK_SECONDS
    assert await client.exists("workflow:state:wf-2", "workflow:lock:wf-2") == 0


async def test_a_new_owner_takes_the_lock_key_over(client: Redis) -> None:
    """With its first newer version; the old owner's late write does not take it back."""
    await RedisHotState(client, "engine-1").save([workflow("wf-1", 1)])

    await RedisHotState(client, "engine-2").save([workflow("wf-1", 3)])
    await RedisHotState(client, "engine-1").save([workflow("wf-1", 2)])

    assert await client.get("workflow:lock:wf-1") == b"engine-2:3"


async def test_a_redis_that_forgot_its_scripts_is_written_to(client: Redis) -> None:
    """As after a restart."""
    hot_state = RedisHotState(client, OWNER)
    await hot_state.save([workflow("wf-1", 1)])

    await client.script_flush()
    await hot_state.save([workflow("wf-1", 2)])

    assert await client.hget("workflow:state:wf-1", "version") == b"2"


async def test_a_redis_that_is_away_is_reported() -> None:
    """The caller learns that Redis, not the event store, is missing."""
    async with connect("redis://127.0.0.1:1") as nowhere:
        with pytest.raises(Unavailable) as failure:
            await RedisHotState(nowhere, OWNER).save([workflow("wf-1")])

    assert failure.value.component == "redis"

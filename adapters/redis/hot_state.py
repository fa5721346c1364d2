"""The newest state of active instances in Redis, for fast readers.

Keys of an instance: `workflow:state:{id}`, a hash with the JSON document in `document` and some of its fields; and
`workflow:lock:{id}`, `<owner>:<version>`, which shows other systems the engine that works on it (exclusion is
guaranteed by the log's fence, not by this key). When the instance ends, both are removed. For each of them,
`{<key>}:ended` keeps the version for a while, so that a late write of a stalled engine cannot restore it.

One script call writes many documents. A cluster refuses a call with keys in different slots, so there each write is a
call of its own. It touches a key and its `:ended`, which has that key as its hash tag (the braces), so both are in one
slot.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from typing import NamedTuple, cast

import orjson
from redis.asyncio import Redis
from redis.exceptions import ClusterCrossSlotError

from adapters.redis.connection import reaching_redis
from application.ports import Document
from domain.workflow.status import WorkflowStatus

#: How long the lock key stays without being written again, and how long an end is remembered.
LOCK_SECONDS = 300
#: A state that is not written for this long (a waiting instance) expires; the projection has it.
STATE_SECONDS = 86_400

#: Writes of one script call: of 100 documents, so that Redis is not held up for long.
_WRITES_PER_CALL = 200

_FIELDS = (
    "status",
    "workflowType",
    "definition",
    "definitionVersion",
    "priority",
    "correlationId",
    "currentStepId",
    "progress",
    "partition",
    "updatedAt",
)
_ENDS = frozenset(status.value for status in WorkflowStatus if status.is_terminal)


_STATE, _LOCK = "state", "lock"

#: Its keys are pairs: a key and its `:ended`. Its arguments are, for each pair: which of the two it is, the version,
#: how long the outcome stands, and what is written, empty at the end; of a state the values of the fields as well.
#: A write changes nothing unless its version is higher than what the key, or its `:ended`, has.
_SAVE = f"""
local names, at = cjson.decode('{orjson.dumps(_FIELDS).decode()}'), 1
for i = 1, #KEYS, 2 do
  local key, ended = KEYS[i], KEYS[i + 1]
  local is_state, version, seconds, value = ARGV[at] == '{_STATE}', ARGV[at + 1], ARGV[at + 2], ARGV[at + 3]
  local fields = {{'version', version, 'document', value}}
  at = at + 4
  if is_state and value ~= '' then
    for _, name in ipairs(names) do
      fields[#fields + 1], fields[#fields + 2], at = name, ARGV[at], at + 1
    end
  end
  local known
  if is_state then
    known = redis.call('HGET', key, 'version')
  else
    known = string.match(redis.call('GET', key) or '', '%d+$')
  end
  if tonumber(version) > tonumber(known or redis.call('GET', ended) or '0') then
    if value == '' then
      redis.call('DEL', key)
      redis.call('SET', ended, version, 'EX', seconds)
    else
      redis.call('DEL', ended)
      if is_state then
        redis.call('HSET', key, unpack(fields))
        redis.call('EXPIRE', key, seconds)
      else
        redis.call('SET', key, value .. ':' .. version, 'EX', seconds)
      end
    end
  end
end
"""


class _Write(NamedTuple):
    """One key's change."""

    key: str
    arguments: Sequence[str | int | bytes]


class RedisHotState:
    """`HotState` on Redis. `owner` names this engine in the lock keys."""

    def __init__(self, client: Redis, owner: str) -> None:
        self._client = client
        self._owner = owner
        self._script = client.register_script(_SAVE)
        self._is_cluster = False

    async def save(self, documents: Sequence[Document]) -> None:
        writes = [write for document in documents for write in self._writes(document)]
        with reaching_redis():
            for start in range(0, len(writes), _WRITES_PER_CALL):
                await self._call(writes[start : start + _WRITES_PER_CALL])

    async def _call(self, writes: Sequence[_Write]) -> None:
        if not self._is_cluster:
            try:
                await self._run(writes, self._client)
            except ClusterCrossSlotError:
                self._is_cluster = True
            else:
                return
        pipeline = self._client.pipeline(transaction=False)
        for write in writes:
            await self._run([write], pipeline)
        await pipeline.execute()

    async def _run(self, writes: Sequence[_Write], client: Redis) -> None:
        keys = [key for write in writes for key in (write.key, _ended(write.key))]
        arguments = [argument for write in writes for argument in write.arguments]
        await cast("Awaitable[object]", self._script(keys, arguments, client))

    def _writes(self, document: Document) -> Iterator[_Write]:
        state, lock = f"workflow:state:{document['_id']}", f"workflow:lock:{document['_id']}"
        version = document["version"]
        if document.get("status") in _ENDS:
            yield _Write(state, (_STATE, version, LOCK_SECONDS, b""))
            yield _Write(lock, (_LOCK, version, LOCK_SECONDS, b""))
        else:
            yield _Write(state, (_STATE, version, STATE_SECONDS, *_values(document)))
            yield _Write(lock, (_LOCK, version, LOCK_SECONDS, self._owner))


def _ended(key: str) -> str:
    return f"{{{key}}}:ended"


def _values(document: Document) -> Iterator[str | int | bytes]:
    yield orjson.dumps(document)
    for name in _FIELDS:
        value = document.get(name)
        yield "" if value is None else value

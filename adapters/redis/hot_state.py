"""The newest state of active instances in Redis, for fast readers.

Keys of an instance: `workflow:state:{id}`, a hash with the document as JSON in `document` and its
most wanted fields beside it; `workflow:lock:{id}`, `<owner>:<version>`, for other systems that want
to know who works on it (the log's fence guarantees, not this key). When the instance ends both are
removed, and `workflow:ended:{id}` remembers the version for a while, so that what a stalled engine
writes late cannot bring them back.

Written for one Redis (or Sentinel): a script call touches the keys of many instances, which a
cluster would refuse.
"""

from __future__ import annotations

from collections.abc import Awaitable, Iterator, Sequence
from typing import Any, cast

import orjson
from redis.asyncio import Redis

from adapters.redis.connection import reaching_redis
from application.ports import Document
from domain.workflow.status import WorkflowStatus

#: How long the lock key stands without being written again, and how long an end is remembered.
LOCK_SECONDS = 300
#: A state that nobody writes for so long (an instance that waits) leaves; the projection has it.
STATE_SECONDS = 86_400

#: Redis does nothing else while a script runs: about a millisecond for so many.
_DOCUMENTS_PER_CALL = 100

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

_FIELD_ARGUMENTS = ", ".join(
    f"'{name}', ARGV[argument + {place}]" for place, name in enumerate(_FIELDS, start=3)
)

_SAVE = f"""
local owner, lock_seconds, state_seconds = ARGV[1], ARGV[2], ARGV[3]
local argument = 4
for key = 1, #KEYS, 3 do
  local state, lock, ended = KEYS[key], KEYS[key + 1], KEYS[key + 2]
  local version, is_end = ARGV[argument], ARGV[argument + 1] == '1'
  local known = redis.call('HGET', state, 'version') or redis.call('GET', ended) or '0'
  if tonumber(version) > tonumber(known) then
    if is_end then
      redis.call('DEL', state, lock)
      redis.call('SET', ended, version, 'EX', lock_seconds)
    else
      redis.call('DEL', ended)
      redis.call('HSET', state, 'version', version, 'document', ARGV[argument + 2],
        {_FIELD_ARGUMENTS})
      redis.call('EXPIRE', state, state_seconds)
      redis.call('SET', lock, owner .. ':' .. version, 'EX', lock_seconds)
    end
  end
  argument = argument + {3 + len(_FIELDS)}
end
"""


class RedisHotState:
    """`HotState` on Redis. `owner` names this engine in the lock keys."""

    def __init__(self, client: Redis, owner: str) -> None:
        self._owner = owner
        self._script = client.register_script(_SAVE)

    async def save(self, documents: Sequence[Document]) -> None:
        for start in range(0, len(documents), _DOCUMENTS_PER_CALL):
            chunk = documents[start : start + _DOCUMENTS_PER_CALL]
            keys = [key for document in chunk for key in _keys(document["_id"])]
            arguments: list[Any] = [self._owner, LOCK_SECONDS, STATE_SECONDS]
            for document in chunk:
                arguments += _arguments(document)
            with reaching_redis():
                await cast("Awaitable[object]", self._script(keys, arguments))


def _keys(workflow_id: str) -> tuple[str, str, str]:
    return (
        f"workflow:state:{workflow_id}",
        f"workflow:lock:{workflow_id}",
        f"workflow:ended:{workflow_id}",
    )


def _arguments(document: Document) -> Iterator[str | int | bytes]:
    get = document.get
    is_end = get("status") in _ENDS
    yield document["version"]
    yield "1" if is_end else "0"
    yield b"" if is_end else orjson.dumps(document)
    for name in _FIELDS:
        value = get(name)
        yield "" if value is None else value

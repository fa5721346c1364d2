"""The newest state of active instances in Redis, for fast readers.

Keys of an instance: `workflow:state:{id}`, a hash with the document as JSON in `document` and its
most wanted fields beside it; `workflow:lock:{id}`, `<owner>:<version>`, for other systems that want
to know who works on it (the log's fence guarantees, not this key). When the instance ends both are
removed, and beside each of them `{<key>}:ended` remembers the version for a while, so that a late
write of a stalled engine cannot bring it back.

Each script call touches one key and its `:ended`. The braces are Redis' hash tag: both are in one
slot, so a cluster takes the call.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Any

import orjson
from redis.asyncio import Redis

from adapters.redis.connection import reaching_redis
from application.ports import Document
from domain.workflow.status import WorkflowStatus

#: How long the lock key stands without being written again, and how long an end is remembered.
LOCK_SECONDS = 300
#: A state that nobody writes for so long (an instance that waits) leaves; the projection has it.
STATE_SECONDS = 86_400

#: Documents per round trip.
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


def _over_lower(version: str, change: str) -> str:
    """The script that changes a key if the given version is higher than what it, or its `:ended`, has.

    Its keys are both of these; its arguments begin with the version and how long the outcome stands.
    """
    return f"""
local known = {version} or redis.call('GET', KEYS[2]) or '0'
if tonumber(ARGV[1]) > tonumber(known) then
  {change}
end
"""


_STATE_VERSION = "redis.call('HGET', KEYS[1], 'version')"
_LOCK_VERSION = "string.match(redis.call('GET', KEYS[1]) or '', '%d+$')"
_END = "redis.call('DEL', KEYS[1]); redis.call('SET', KEYS[2], ARGV[1], 'EX', ARGV[2])"
_FIELD_ARGUMENTS = ", ".join(f"'{name}', ARGV[{at}]" for at, name in enumerate(_FIELDS, start=4))

#: Its other arguments are the document and the values of the fields.
_SAVE_STATE = _over_lower(
    _STATE_VERSION,
    f"""redis.call('DEL', KEYS[2])
  redis.call('HSET', KEYS[1], 'version', ARGV[1], 'document', ARGV[3], {_FIELD_ARGUMENTS})
  redis.call('EXPIRE', KEYS[1], ARGV[2])""",
)
#: Its other argument is the owner.
_SAVE_LOCK = _over_lower(
    _LOCK_VERSION,
    """redis.call('DEL', KEYS[2])
  redis.call('SET', KEYS[1], ARGV[3] .. ':' .. ARGV[1], 'EX', ARGV[2])""",
)
_END_STATE = _over_lower(_STATE_VERSION, _END)
_END_LOCK = _over_lower(_LOCK_VERSION, _END)


class RedisHotState:
    """`HotState` on Redis. `owner` names this engine in the lock keys."""

    def __init__(self, client: Redis, owner: str) -> None:
        self._client = client
        self._owner = owner

    async def save(self, documents: Sequence[Document]) -> None:
        for start in range(0, len(documents), _DOCUMENTS_PER_CALL):
            pipeline = self._client.pipeline(transaction=False)
            for document in documents[start : start + _DOCUMENTS_PER_CALL]:
                for command in self._commands(document):
                    pipeline.execute_command("EVAL", *command)  # pyright: ignore[reportUnknownMemberType]
            with reaching_redis():
                await pipeline.execute()

    def _commands(self, document: Document) -> Iterator[Sequence[Any]]:
        """State and lock are two keys of different slots, so each is written by itself."""
        state, lock = f"workflow:state:{document['_id']}", f"workflow:lock:{document['_id']}"
        version = document["version"]
        if document.get("status") in _ENDS:
            yield (_END_STATE, 2, state, _ended(state), version, LOCK_SECONDS)
            yield (_END_LOCK, 2, lock, _ended(lock), version, LOCK_SECONDS)
            return
        values = _values(document)
        yield (_SAVE_STATE, 2, state, _ended(state), version, STATE_SECONDS, *values)
        yield (_SAVE_LOCK, 2, lock, _ended(lock), version, LOCK_SECONDS, self._owner)


def _ended(key: str) -> str:
    return f"{{{key}}}:ended"


def _values(document: Document) -> Iterator[str | int | bytes]:
    yield orjson.dumps(document)
    for name in _FIELDS:
        value = document.get(name)
        yield "" if value is None else value

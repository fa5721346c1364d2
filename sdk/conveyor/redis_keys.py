"""The records of idempotency keys in Redis, shared by all processes of a participant.

A key is one string, `<owner>|<until>|<attempt>|<lost>|<record>`: its holder, until when (ms) and
with which attempt begun, the attempt of a claim whose holder died, the record as JSON. The scripts
below are the only writers, so that a key has one holder at a time. They run over keys in bulk, so
it must be one Redis (with replicas), not a cluster. Records are as durable as that Redis:
`appendfsync always` where a claim must survive a power failure.
"""

from __future__ import annotations

import asyncio
import logging
import uuid
from collections.abc import Iterator, Mapping, Sequence
from datetime import timedelta
from typing import Any, cast

try:
    from redis.asyncio import Redis
    from redis.exceptions import ConnectionError as RedisConnectionError
    from redis.exceptions import MasterDownError, OutOfMemoryError, ReadOnlyError
    from redis.exceptions import TimeoutError as RedisTimeoutError
except ModuleNotFoundError as absent:
    raise ModuleNotFoundError(
        "RedisKeyStore needs redis: pip install 'conveyor-sdk[redis]'", name="redis"
    ) from absent

from conveyor.errors import ServerUnavailableError
from conveyor.keys import KeyRecord, abandoned, dumps, loads

log = logging.getLogger(__name__)

_KEYS_PER_CALL = 500
_PASSING = (
    RedisConnectionError,
    RedisTimeoutError,
    ReadOnlyError,
    OutOfMemoryError,
    MasterDownError,
    OSError,
)

_PARSE = """
local FIELDS = '^([^|]*)|(%d+)|(%d+)|(%d+)|(.*)$'
local me = ARGV[1]
"""

_OPEN = (
    _PARSE
    + """
local time = redis.call('TIME')
local now = time[1] * 1000 + math.floor(time[2] / 1000)
local lease_end = string.format('%.0f', now + ARGV[2])
local attempts = string.gmatch(ARGV[4], '%d+')
local answers = {}
for i, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  local owner, ends, attempt, lost, record = '', '0', '0', '0', ''
  if value then owner, ends, attempt, lost, record = string.match(value, FIELDS) end
  local begun = attempts()
  if owner ~= '' and owner ~= me and tonumber(ends) > now then
    answers[i] = ''
  else
    if owner ~= '' and owner ~= me and tonumber(attempt) > tonumber(lost) then lost = attempt end
    redis.call('SET', KEYS[i],
      me .. '|' .. lease_end .. '|' .. begun .. '|' .. lost .. '|' .. record, 'PX', ARGV[3])
    answers[i] = lost .. '|' .. record
  end
end
return answers
"""
)

_SAVE = (
    _PARSE
    + """
local records = string.gmatch(ARGV[3], '[^\\n]+')
local lost_holds = {}
for i, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  local record = records()
  if value and string.match(value, FIELDS) == me then
    redis.call('SET', KEYS[i], '|0|0|0|' .. record, 'PX', ARGV[2])
  else
    lost_holds[#lost_holds + 1] = KEYS[i]
  end
end
return lost_holds
"""
)

_RENEW = (
    _PARSE
    + """
local time = redis.call('TIME')
local lease_end = string.format('%.0f', time[1] * 1000 + math.floor(time[2] / 1000) + ARGV[2])
for i, value in ipairs(redis.call('MGET', unpack(KEYS))) do
  if value then
    local owner, ends, attempt, lost, record = string.match(value, FIELDS)
    if owner == me then
      redis.call('SET', KEYS[i],
        me .. '|' .. lease_end .. '|' .. attempt .. '|' .. lost .. '|' .. record, 'KEEPTTL')
    end
  end
end
return 0
"""
)


class RedisKeyStore:
    """The `KeyStore` for participants that run as several processes.

    The keys of a process that dies are free after `lease`. A process that freezes for longer loses
    its keys, and its later saves are refused. Choose an `expiry` longer than the retention of the
    request topics plus the longest workflow time-out.
    """

    def __init__(
        self,
        url: str,
        *,
        expiry: timedelta = timedelta(days=90),
        lease: timedelta = timedelta(seconds=10),
        prefix: str = "workflow:idempotency:",
    ) -> None:
        self._redis: Any = cast("Any", Redis).from_url(
            url, socket_timeout=5.0, socket_connect_timeout=5.0
        )
        self._expiry_ms = int(expiry.total_seconds() * 1000)
        self._lease_seconds = lease.total_seconds()
        self._prefix = prefix
        self._owner = uuid.uuid4().hex
        self._open = self._redis.register_script(_OPEN)
        self._save = self._redis.register_script(_SAVE)
        self._renew = self._redis.register_script(_RENEW)
        self._held: set[str] = set()
        self._renewing: asyncio.Task[None] | None = None

    async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
        if self._renewing is None:
            self._renewing = asyncio.create_task(self._keep_renewing())
        lease_ms = int(self._lease_seconds * 1000)
        opened: dict[str, KeyRecord] = {}
        for keys in _chunks(list(claims)):
            attempts = " ".join([str(claims[key]) for key in keys])
            args = [self._owner, lease_ms, self._expiry_ms, attempts]
            answers = cast("list[bytes]", await self._call(self._open, keys, args))
            for key, answer in zip(keys, answers, strict=True):
                if answer:
                    opened[key] = _record(answer)
        self._held.update(opened)
        return opened

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        lost: list[str] = []
        for keys in _chunks(list(records)):
            # One argument for all: the client's cost is per argument, and JSON has no raw newline.
            lines = b"\n".join([dumps(records[key]) for key in keys])
            args = [self._owner, self._expiry_ms, lines]
            answer = cast("list[bytes]", await self._call(self._save, keys, args))
            lost.extend(key.decode()[len(self._prefix) :] for key in answer)
        self._held.difference_update(records)
        return frozenset(lost)

    async def close(self) -> None:
        if self._renewing is not None:
            self._renewing.cancel()
            await asyncio.wait({self._renewing})
        await self._redis.aclose()

    async def _call(self, script: Any, keys: Sequence[str], args: Sequence[Any]) -> Any:
        try:
            return await script(keys=[self._prefix + key for key in keys], args=args)
        except _PASSING as error:
            raise ServerUnavailableError("redis", str(error) or type(error).__name__) from error

    async def _keep_renewing(self) -> None:
        while True:
            await asyncio.sleep(self._lease_seconds / 3)
            lease_ms = int(self._lease_seconds * 1000)
            try:
                for keys in _chunks(list(self._held)):
                    await self._call(self._renew, keys, [self._owner, lease_ms])
            except ServerUnavailableError as error:
                log.warning("Cannot renew the hold on %d keys: %s", len(self._held), error)


def _chunks(keys: Sequence[str]) -> Iterator[Sequence[str]]:
    for start in range(0, len(keys), _KEYS_PER_CALL):
        yield keys[start : start + _KEYS_PER_CALL]


def _record(answer: bytes) -> KeyRecord:
    lost, _, document = answer.partition(b"|")
    record = loads(document) if document else KeyRecord()
    return abandoned(record, int(lost))

"""Participants of this process: their requests, replies and key records in the embedded store.

Cursor and key records belong to a service, not to its participant. A participant that begins to read a service takes
it over from the one before, which has answered what it took, and reads on when the newer one leaves.

Key records given to `SqliteKeyStore.save` are written by the next `SqliteParticipantTransport.finish`, in one group
with the replies and the offsets. So a participant that dies leaves all of them or none. A claim is on disk before its
handler is called.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Collection, Mapping, Sequence
from collections.abc import Set as AbstractSet
from datetime import datetime
from typing import TypeVar

import orjson
from conveyor.cloudevents import encode
from conveyor.dead_letters import dead_letter
from conveyor.errors import ServerUnavailableError
from conveyor.keys import KeyRecord, abandoned, dumps, loads
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.times import rfc3339
from conveyor.topics import step_requests
from conveyor.transport import Taken

from adapters.sqlite.batches import as_message
from adapters.sqlite.projections import load_offsets, save_offsets
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.topics import Consumer, Topic
from adapters.sqlite.writer import Statement
from application.ports import InboxStart, Unavailable

T = TypeVar("T")

_LOAD = """
SELECT wanted.key, k.record, c.attempt FROM json_each(?) AS wanted
LEFT JOIN participant_keys AS k
    ON k.instance = wanted.value AND k.step = substr(wanted.key, instr(wanted.key, '/') + 1)
LEFT JOIN participant_claims AS c ON c.key = wanted.key
WHERE k.record IS NOT NULL OR c.attempt IS NOT NULL
"""
_SAVE = """
INSERT INTO participant_keys (instance, step, record) VALUES {values}
ON CONFLICT DO UPDATE SET record = excluded.record
"""
_CLAIM = """
INSERT INTO participant_claims (key, attempt) VALUES {values}
ON CONFLICT DO UPDATE SET attempt = excluded.attempt
"""
_RESOLVE = """
DELETE FROM participant_claims WHERE (key, attempt) IN (SELECT key, value FROM json_each(?))
"""
_NO_RECORD = KeyRecord()
#: Of the cursors of all services.
_CONSUMER = "participants"


class ParticipantSession:
    """The state that key stores and transports share: the records that `finish` writes, and who reads what."""

    def __init__(self, store: SqliteStore) -> None:
        self.store = store
        #: topic -> its transports; the last one reads, the others have stepped back
        self.readers: dict[Topic, list[SqliteParticipantTransport]] = {}
        self.handing_over = asyncio.Lock()
        #: The keys that a key store holds.
        self.held: set[str] = set()
        #: Saved but not yet submitted to the writer: the records, and the claimed attempts of these keys.
        self._saved: dict[str, KeyRecord] = {}
        self._resolved: dict[str, int] = {}
        #: Submitted but not yet known to be on disk.
        self._submitted: dict[str, KeyRecord] = {}

    def save(self, records: Mapping[str, KeyRecord], claimed: Mapping[str, int]) -> None:
        """Keep the records for the next write. `claimed` has the attempts of the claims that this resolves."""
        self._saved.update(records)
        self._resolved.update(claimed)

    async def load(self, keys: Sequence[str]) -> dict[str, KeyRecord]:
        """The newest record of each key that has one or is claimed."""
        numbers = self.store.instances.find({_workflow(key) for key in keys})
        wanted = {key: numbers.get(_workflow(key), 0) for key in keys}
        records: dict[str, KeyRecord] = {}
        for key, text, attempt in await self.store.by_keys(_LOAD, wanted):
            record = _NO_RECORD if text is None else loads(text)
            records[key] = record if attempt is None else abandoned(record, attempt)
        for newer in (self._submitted, self._saved):
            records.update({key: newer[key] for key in keys if key in newer})
        return records

    async def claim(self, claims: Mapping[str, int]) -> None:
        """Write only the claims. Saved records are written with their replies."""
        await self.store.write([Statement(_CLAIM, list(claims.items()))])

    async def write(
        self, messages: Sequence[Message | Record] = (), statements: Sequence[Statement] = ()
    ) -> None:
        """Write what was saved, with these messages and statements, as one group."""
        saved, self._saved = self._saved, {}
        resolved, self._resolved = self._resolved, {}
        self._submitted.update(saved)
        numbers = self.store.instances.number({_workflow(key) for key in saved})
        keys = _statements(saved, resolved, numbers)
        try:
            await self.store.write([*keys, *statements], messages, numbers)
        except (
            BaseException
        ):  # also when cancelled: the next write includes what this one did not save
            self._saved = saved | self._saved
            self._resolved = resolved | self._resolved
            raise
        finally:
            for key, record in saved.items():
                if self._submitted.get(key) is record:
                    del self._submitted[key]


def _statements(
    saved: Mapping[str, KeyRecord],
    resolved: Mapping[str, int],
    numbers: Mapping[str, int],
) -> list[Statement]:
    statements: list[Statement] = []
    if saved:
        rows = [
            (numbers[_workflow(key)], key[key.find("/") + 1 :], dumps(record).decode())
            for key, record in saved.items()
        ]
        statements.append(Statement(_SAVE, rows))
    if resolved:
        statements.append(Statement(_RESOLVE, [(orjson.dumps(resolved).decode(),)]))
    return statements


def _workflow(key: str) -> str:
    """A key's workflow. The keys of a workflow are stored together, because its requests come at about one time."""
    return key.partition("/")[0]


class SqliteKeyStore:
    """`KeyStore` on the tables `participant_keys` and `participant_claims`; no other process can hold a key."""

    def __init__(self, session: ParticipantSession) -> None:
        self._session = session
        self._held: set[str] = set()
        #: The claimed attempts of the held keys.
        self._claimed: dict[str, int] = {}

    async def open(self, claims: Mapping[str, int]) -> Mapping[str, KeyRecord]:
        free = [key for key in claims if key not in self._session.held]
        self._hold(free)
        try:
            records = await _answered(self._session.load(free))
            opened = {key: records.get(key, _NO_RECORD) for key in free}
            begun = {key: claims[key] for key in free if claims[key]}
            if begun:
                await _answered(self._session.claim(begun))
            found = {key: record.claimed for key, record in opened.items() if record.claimed}
            self._claimed.update(found | begun)
        except BaseException:  # also when cancelled: no key stays held by a caller that is gone
            self._let_go(free)
            raise
        return opened

    async def save(self, records: Mapping[str, KeyRecord]) -> frozenset[str]:
        held = {key: record for key, record in records.items() if key in self._held}
        self._let_go(held)
        claimed = {key: self._claimed.pop(key) for key in held if key in self._claimed}
        self._session.save(held, claimed)
        return frozenset(records.keys() - held.keys())

    async def close(self) -> None:
        self._let_go(list(self._held))
        self._claimed.clear()

    def _hold(self, keys: Collection[str]) -> None:
        self._held.update(keys)
        self._session.held.update(keys)

    def _let_go(self, keys: Collection[str]) -> None:
        self._held.difference_update(keys)
        self._session.held.difference_update(keys)


class _Progress:
    """The requests of one topic that are taken but not finished."""

    def __init__(self, start: int) -> None:
        self._next = start
        self._unfinished: dict[int, None] = {}
        #: Set while nothing is unfinished.
        self.rested = asyncio.Event()
        self.rested.set()

    def take(self, offset: int) -> None:
        self.rested.clear()
        self._unfinished[offset] = None
        self._next = offset + 1

    def after(self, offsets: AbstractSet[int]) -> int:
        """The offset below which everything is finished once these offsets are."""
        return next((each for each in self._unfinished if each not in offsets), self._next)

    def finish(self, offsets: AbstractSet[int]) -> None:
        for offset in offsets:
            self._unfinished.pop(offset, None)
        if not self._unfinished:
            self.rested.set()


class SqliteParticipantTransport:
    """`conveyor.transport.Transport` on the embedded topics."""

    def __init__(self, session: ParticipantSession) -> None:
        self._session = session
        self._store = session.store
        #: By topic name.
        self._progress: dict[str, _Progress] = {}
        self._consumer: Consumer | None = None
        self._is_closed = asyncio.Event()
        #: To be read again from the next `take` on.
        self._returned: dict[Topic, bool] = {}
        self._refused: list[tuple[str, int]] = []
        self._dead_letters: list[Record] = []

    async def start(self, participant: str, services: Sequence[str]) -> None:
        """Read these services; cursors belong to them, not to the participant."""
        del participant
        if self._consumer is None:
            self._consumer = self._store.consumer({})
        for service in services:
            topic = await _answered(self._store.topic(step_requests(service)))
            async with self._session.handing_over:
                readers = self._session.readers.setdefault(topic, [])
                if self not in readers:
                    await self._take_over(topic, readers)
                    readers.append(self)

    async def _take_over(self, topic: Topic, readers: Sequence[SqliteParticipantTransport]) -> None:
        try:
            for reader in readers[-1:]:
                await reader.step_back(topic)
            self._read_from(topic, await self._cursor(topic))
        except BaseException:  # also when cancelled: somebody goes on reading
            for reader in readers[-1:]:
                reader.read_again(topic)
            raise

    async def _cursor(self, topic: Topic) -> int:
        done = await _answered(load_offsets(self._store, _CONSUMER))
        return next((start.offset for start in done if start.topic_id == topic.id), 0)

    def _read_from(self, topic: Topic, start: int) -> None:
        self._progress[topic.name] = _Progress(start)
        if self._consumer is not None:
            self._consumer.join(topic, start)

    def read_again(self, topic: Topic) -> None:
        """The one that took the topic over has left."""
        self._returned[topic] = True

    async def step_back(self, topic: Topic) -> None:
        """Take nothing more from the topic. Returns when what was taken is finished, or given up by `close`."""
        if self._returned.pop(topic, False) or self._consumer is None:
            return
        self._consumer.leave(topic)
        rested = asyncio.create_task(self._progress[topic.name].rested.wait())
        closed = asyncio.create_task(self._is_closed.wait())
        try:
            await asyncio.wait({rested, closed}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            rested.cancel()
            closed.cancel()

    async def take(self, limit: int, wait_seconds: float) -> Sequence[Taken]:
        if self._refused:
            await self._finish(self._refused, self._dead_letters)
            self._refused, self._dead_letters = [], []
        for topic in list(self._returned):
            start = await self._cursor(topic)
            if self._returned.pop(topic, False):
                self._read_from(topic, start)
        if self._consumer is None or limit == 0:
            return []
        requests: list[Taken] = []
        for topic, batches in await _answered(self._consumer.take(limit, wait_seconds)):
            take = self._progress[topic.name].take
            for batch in batches:
                for offset, stored in enumerate(batch.records, batch.first):
                    take(offset)
                    message = as_message(stored)
                    if isinstance(message, Message):
                        requests.append(Taken(message, 0, offset))
                    else:
                        self._refuse(stored, message, offset, batch.at)
        return requests

    async def finish(self, done: Sequence[Taken], replies: Sequence[Message | Record]) -> None:
        await self._finish([(taken.message.topic, taken.offset) for taken in done], replies)

    async def _finish(
        self, places: Sequence[tuple[str, int]], messages: Sequence[Message | Record]
    ) -> None:
        finished: dict[str, set[int]] = {}
        for name, offset in places:
            finished.setdefault(name, set()).add(offset)
        starts = [
            InboxStart(name, 0, self._store.topics[name].id, self._progress[name].after(offsets))
            for name, offsets in finished.items()
        ]
        await _answered(self._session.write(messages, [save_offsets(_CONSUMER, starts)]))
        for name, offsets in finished.items():
            self._progress[name].finish(offsets)

    def _refuse(
        self, stored: Message | Record, malformed: MalformedEvent, offset: int, appended: datetime
    ) -> None:
        """A request that cannot be read becomes a dead letter on the next `take`."""
        record = encode(stored) if isinstance(stored, Message) else stored
        self._refused.append((record.topic, offset))
        self._dead_letters.append(
            dead_letter(
                record,
                reason=malformed.code,
                detail=malformed.detail,
                partition=0,
                offset=offset,
                time=rfc3339(appended),
            )
        )

    async def close(self) -> None:
        """Requests that are not finished are delivered again, to the participant that it took a service over from."""
        self._is_closed.set()
        if self._consumer is not None:
            self._consumer.close()
            self._consumer = None
        async with self._session.handing_over:
            for topic, readers in self._session.readers.items():
                if self not in readers:
                    continue
                was_reading = readers[-1] is self
                readers.remove(self)
                if was_reading and readers:
                    readers[-1].read_again(topic)


async def _answered(answer: Awaitable[T]) -> T:
    """The result of the call, with the service's error translated to the SDK's."""
    try:
        return await answer
    except Unavailable as error:
        raise ServerUnavailableError(error.component, error.detail) from error

"""The ceiling of the embedded mode: a saga's messages and rows, without an engine.

Two bare loops stand for engine and participant. Each takes messages from the same topics and writes
prepared answers: the same messages, and the same rows, through the same writer with the same flushes. It
finds out only to which workflow a message belongs, and which one of its messages it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from typing import NamedTuple

from conveyor import topics
from conveyor.keys import dumps as record_text
from conveyor.messages import Message

from adapters.sqlite.event_log import encode_entries
from adapters.sqlite.projections import ENGINE, save_offsets
from adapters.sqlite.schema import commit_key
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.topics import Consumer, Taken
from adapters.sqlite.writer import Row, Statement
from application.ports import InboxStart
from bench.recipes.load import numbered
from bench.recipes.rounds import PROJECTION_SECONDS, Rounds
from bench.recipes.saga import Hop, Saga, renamed
from infrastructure.running import tune_interpreter
from infrastructure.wiring import Embedded

_BATCH = 1000
_WAIT_SECONDS = 0.1
_PARTICIPANT = "participant:ceiling"

_COMMITS = "INSERT INTO commits (key, last_version, partition, entries) VALUES {values}"
_CAUSES = "INSERT INTO causes (topic_id, partition, offset, commit_key) VALUES {values}"
_RECORDS = "INSERT INTO participant_keys (instance, step, record) VALUES {values}"
_COLUMNS = "SELECT name FROM pragma_table_info('workflows')"


class _HopCopy(NamedTuple):
    messages: Sequence[Message]
    first_version: int
    #: Of `commits`, without its key.
    commit: Row
    #: Of `workflows`, without its number.
    state: Row


class _AnswerCopy(NamedTuple):
    reply: Message
    #: Of `participant_keys`, without its instance.
    record: Row


class EmbeddedCopies:
    """What engine and participant write, for every workflow of some phases."""

    def __init__(self, saga: Saga, phases: Mapping[str, int]) -> None:
        """`phases`: id prefix -> number of workflows."""
        ids = [numbered(prefix, n) for prefix, count in phases.items() for n in range(count)]
        self._hops = {each: list(_hops(saga, each)) for each in ids}
        self._answers = {each: list(_answers(saga, each)) for each in ids}

    async def run_engine(self, mode: Embedded, stop: asyncio.Event) -> None:
        store = mode.store
        inbox = await _consumer(store, [topics.COMMANDS, topics.REPLIES])
        tune_interpreter()
        save = await _upsert(store)
        seen = Counter[str]()
        offsets: dict[str, InboxStart] = {}
        # Rows of `workflows` by number: written behind, each in its newest state only.
        states = Rounds[int, Row](PROJECTION_SECONDS)

        async def project(rows: Mapping[int, Row]) -> None:
            starts = list(offsets.values())
            await store.write([Statement(save, [(n, *row) for n, row in rows.items()])])
            await store.write([save_offsets(ENGINE, starts)])

        while not stop.is_set():
            taken = await inbox.take(_BATCH, _WAIT_SECONDS)
            if taken:
                changed = await self._decided(store, taken, seen)
                states.changed(changed)
                offsets.update(_offsets(taken))
            await states.begin_if_due(project)
        await states.finish(project)
        inbox.close()

    async def _decided(
        self, store: SqliteStore, taken: Sequence[Taken], seen: Counter[str]
    ) -> Mapping[int, Row]:
        """Write commits and messages as one group. Returns the rows of `workflows` by number."""
        places = list(_places(taken))
        numbers = store.instances.number({workflow_id for workflow_id, *_ in places})
        commits: list[Row] = []
        causes: list[Row] = []
        messages: list[Message] = []
        states: dict[int, Row] = {}
        for workflow_id, topic_id, offset in places:
            hop = self._hops[workflow_id][seen[workflow_id]]
            seen[workflow_id] += 1
            number = numbers[workflow_id]
            key = commit_key(number, hop.first_version)
            commits.append((key, *hop.commit))
            causes.append((topic_id, 0, offset, key))
            messages.extend(hop.messages)
            states[number] = hop.state
        statements = [Statement(_COMMITS, commits), Statement(_CAUSES, causes)]
        await store.write(statements, messages, numbers)
        return states

    async def run_participant(self, mode: Embedded, stop: asyncio.Event) -> None:
        store = mode.store
        requested = {m.topic for hops in self._hops.values() for h in hops for m in h.messages}
        requests = await _consumer(store, sorted(requested - {topics.EVENTS}))
        seen = Counter[str]()
        while not stop.is_set():
            taken = await requests.take(_BATCH, _WAIT_SECONDS)
            if not taken:
                continue
            ids = [workflow_id for workflow_id, *_ in _places(taken)]
            numbers = store.instances.number(set(ids))
            records: list[Row] = []
            replies: list[Message] = []
            for workflow_id in ids:
                answer = self._answers[workflow_id][seen[workflow_id]]
                seen[workflow_id] += 1
                records.append((numbers[workflow_id], *answer.record))
                replies.append(answer.reply)
            offsets = save_offsets(_PARTICIPANT, list(_offsets(taken).values()))
            await store.write([Statement(_RECORDS, records), offsets], replies, numbers)
        requests.close()


def _hops(saga: Saga, workflow_id: str) -> Iterator[_HopCopy]:
    old = saga.workflow_id
    for hop in saga.hops:
        commit = hop.commit
        entries = encode_entries(commit).replace(old, workflow_id)
        yield _HopCopy(
            [renamed(message, old, workflow_id) for message in hop.messages],
            commit.first_version,
            (commit.last_version, commit.partition, entries),
            _state(hop, old, workflow_id),
        )


def _state(hop: Hop, old: str, workflow_id: str) -> Row:
    return [
        value.replace(old, workflow_id) if isinstance(value, str) else value
        for value in hop.row[1:]
    ]


def _answers(saga: Saga, workflow_id: str) -> Iterator[_AnswerCopy]:
    for answer in saga.answers:
        step = answer.key.partition("/")[2]
        yield _AnswerCopy(
            renamed(answer.reply, saga.workflow_id, workflow_id),
            (step, record_text(answer.record).decode()),
        )


async def _consumer(store: SqliteStore, names: Sequence[str]) -> Consumer:
    return store.consumer({await store.topic(name): 0 for name in names})


async def _upsert(store: SqliteStore) -> str:
    columns = [name for (name,) in await store.query(_COLUMNS, ())]
    # The names are the file's own.
    changes = ", ".join(f"{name} = excluded.{name}" for name in columns[1:])
    return (
        f"INSERT INTO workflows ({', '.join(columns)}) VALUES {{values}}"  # noqa: S608 - see above
        f" ON CONFLICT (number) DO UPDATE SET {changes} WHERE excluded.version > version"
    )


def _places(taken: Sequence[Taken]) -> Iterator[tuple[str, str, int]]:
    """Workflow id, topic id and offset of every record."""
    for topic, batches in taken:
        for batch in batches:
            for offset, record in enumerate(batch.records, batch.first):
                key = record.key
                yield (key.decode() if isinstance(key, bytes) else key or ""), topic.id, offset


def _offsets(taken: Sequence[Taken]) -> dict[str, InboxStart]:
    return {
        topic.name: InboxStart(topic.name, 0, topic.id, batches[-1].end) for topic, batches in taken
    }

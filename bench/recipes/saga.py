"""One saga as it lies in topics and stores: recorded once, to be written again without an engine.

A real engine and a real participant run it on an embedded file. What is kept are its messages, its
commits, its state after each of them, and the participant's records. Copies differ in the id only,
and ids are equally long, so that a copy is a replacement of bytes even within BSON.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from conveyor import topics
from conveyor.keys import KeyRecord
from conveyor.keys import loads as key_record
from conveyor.messages import Message

from adapters.sqlite.batches import as_message
from adapters.sqlite.store import SqliteStore
from adapters.sqlite.writer import Row, Statement
from application.aggregates.workflow import WORKFLOW
from application.engine.loader import replayed
from application.outputs import outputs
from application.ports import Commit, Document, Projections
from bench.recipes.embedded_site import EmbeddedSite, embedded_site, engine, participant
from bench.recipes.errors import BenchError
from bench.recipes.load import STEPS, Load, Phase, numbered
from infrastructure.settings import Settings

_COMMITS_MAX = 100
_FORGET = "DELETE FROM workflows WHERE id = ?"
_STATE = "SELECT * FROM workflows WHERE id = ?"
_RECORDS = """
SELECT k.step, k.record FROM participant_keys AS k JOIN instances AS i ON i.number = k.instance
WHERE i.id = ? ORDER BY k.rowid
"""


@dataclass(frozen=True, slots=True)
class Hop:
    """What one inbox message leads to."""

    commit: Commit
    #: Its events, and the step request if one follows.
    messages: Sequence[Message]
    #: The instance afterwards, and its row in the embedded file's `workflows`.
    document: Document
    row: Row


@dataclass(frozen=True, slots=True)
class Answer:
    """What one step request leads to."""

    reply: Message
    #: The idempotency key, and what the participant remembers of it.
    key: str
    record: KeyRecord


@dataclass(frozen=True, slots=True)
class Saga:
    """Every message of one workflow, in the order in which they cause each other."""

    workflow_id: str
    hops: Sequence[Hop]
    answers: Sequence[Answer]


def record_saga(prefix: str, settings: Settings) -> Saga:
    """Run the first workflow of a phase with this prefix. Raises BenchError."""
    with tempfile.TemporaryDirectory(prefix="conveyor-bench-saga-") as folder:
        return asyncio.run(_record(prefix, settings, Path(folder) / "saga.db"))


async def _record(prefix: str, settings: Settings, path: Path) -> Saga:
    async with embedded_site(path, [engine(settings), participant]) as site:
        await site.drive(Phase(prefix, Load(workflows=1, in_flight=1), 1))
        return await _read(site, numbered(prefix, 0))


async def _read(site: EmbeddedSite, workflow_id: str) -> Saga:
    backbone, store = site.mode.backbone, site.mode.store
    commits = await backbone.event_log.history(workflow_id, 0, _COMMITS_MAX)
    first = commits[0].entries[0].events[0].data
    definition = await backbone.registry.get(first["definition"], first["definitionVersion"])
    if definition is None or len(commits) != STEPS + 1:
        raise BenchError(f"the saga to be copied has {len(commits)} commits")
    hops: list[Hop] = []
    for number, commit in enumerate(commits, 1):
        hot = replayed(WORKFLOW, None, commits[:number], lambda _name, _version: definition)
        assert hot is not None
        document = hot.document(commit.partition)
        row = await _row_of(backbone.projections, store, document)
        hops.append(Hop(commit, outputs(commit, _no_send), document, row))
    replies = await _messages(store, topics.REPLIES)
    rows = await store.query(_RECORDS, (workflow_id,))
    answers = [
        Answer(reply, f"{workflow_id}/{step}", key_record(record))
        for reply, (step, record) in zip(replies, rows, strict=True)
    ]
    return Saga(workflow_id, hops, answers)


def _no_send(_type: str, _key: str, _value: bytes) -> bytes:
    raise AssertionError("a saga of steps sends nothing to other aggregates")


async def _row_of(projections: Projections, store: SqliteStore, document: Document) -> Row:
    # Nothing is written over a higher version, and the saga's last state is there already.
    await store.write([Statement(_FORGET, [(document["_id"],)])])
    await projections.save([document])
    (row,) = await store.query(_STATE, (document["_id"],))
    return row


async def _messages(store: SqliteStore, name: str) -> list[Message]:
    consumer = store.consumer({await store.topic(name): 0})
    taken = await consumer.take(_COMMITS_MAX, 0)
    consumer.close()
    stored = (
        as_message(each) for part in taken for batch in part.batches for each in batch.records
    )
    return [message for message in stored if isinstance(message, Message)]


def renamed(message: Message, old: str, new: str) -> Message:
    """The same message of another workflow."""
    return Message(
        topic=message.topic,
        key=new,
        type=message.type,
        source=message.source,
        id=message.id.replace(old, new),
        data=message.data.replace(old.encode(), new.encode()),
        subject=new,
        time=message.time,
        dataschema=message.dataschema,
        extensions=_renamed_values(message.extensions, old, new),
    )


def _renamed_values(values: Mapping[str, str], old: str, new: str) -> dict[str, str]:
    return {name: value.replace(old, new) for name, value in values.items()}

"""The ceiling of the Kafka mode: a saga's records, documents and keys, without an engine.

Two bare loops, each a process of its own, stand for engine and participant. Each takes records with
a consumer of the same settings, and writes prepared answers with the same producers and the same write
concern. Nothing is decoded: a loop finds out only to which workflow a record belongs, and which one of
its records it is.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Iterator, Mapping
from contextlib import AsyncExitStack
from typing import NamedTuple

from conveyor import topics
from conveyor.cloudevents import encode
from conveyor.kafka import GROUP_PREFIX
from conveyor.kafka_writer import KafkaWriter
from conveyor.keys import KeyRecord
from conveyor.messages import Record
from conveyor.redis_keys import RedisKeyStore
from redis.asyncio import Redis

from adapters.kafka.publisher import KafkaPublisher
from adapters.mongodb import commit_documents, workflow_documents
from adapters.mongodb.connection import connect, durable
from adapters.mongodb.guarded_writes import GuardedWrite, write_guarded
from adapters.mongodb.json_in_bson import EncodedDocument
from adapters.mongodb.projections import MongoProjections
from adapters.redis.hot_state import RedisHotState
from application.ports import Document, InboxStart
from bench.recipes.kafka_reader import KafkaReader, Lane, key_of, lane_of
from bench.recipes.load import numbered
from bench.recipes.rounds import PROJECTION_SECONDS, Rounds
from bench.recipes.saga import Saga
from infrastructure.running import tune_interpreter
from infrastructure.settings import Settings
from infrastructure.wiring import kafka_settings

_PARTICIPANT = "ceiling"


class _HopCopy(NamedTuple):
    records: list[Record]
    commit: EncodedDocument
    version: int
    state: EncodedDocument
    #: The state for Redis, all copies' own but for its id.
    document: Document


class _AnswerCopy(NamedTuple):
    reply: Record
    key: str
    record: KeyRecord


def _ids(phases: Mapping[str, int]) -> Iterator[str]:
    """Every workflow id of phases that are given as id prefix -> number of workflows."""
    return (numbered(prefix, n) for prefix, count in phases.items() for n in range(count))


# -- in place of the engine ------------------------------------------------------------------------


class EngineCopy:
    """Writes commits, records, states and offsets."""

    def __init__(self, saga: Saga, phases: Mapping[str, int], settings: Settings) -> None:
        self._settings = settings
        old, hops = saga.workflow_id.encode(), _hops(saga)
        self._hops = {
            each: [_renamed_hop(hop, old, each.encode()) for hop in hops] for each in _ids(phases)
        }
        self._seen = Counter[str]()
        #: After the last record that was answered.
        self._offsets: dict[Lane, int] = {}
        self._projected: set[str] = set()

    async def run(self, stop: asyncio.Event) -> None:
        tune_interpreter()
        kafka = kafka_settings(self._settings)
        async with AsyncExitStack() as stack:
            mongo = connect(self._settings.mongodb.uri)
            stack.push_async_callback(mongo.close)
            database = mongo[self._settings.mongodb.database]
            self._commits = durable(database, "workflow_events")
            self._workflows = durable(database, "workflows")
            self._projections = MongoProjections(database)
            self._hot_state = self._redis(stack)
            self._publisher = KafkaPublisher(kafka)
            stack.push_async_callback(self._publisher.close)
            inbox = [kafka.on_broker(topic) for topic in kafka.inbox_topics]
            self._reader = KafkaReader(kafka.group_member(), inbox)
            stack.push_async_callback(self._reader.close)
            await self._answer_all(stop)

    def _redis(self, stack: AsyncExitStack) -> RedisHotState | None:
        section = self._settings.redis
        if not section.enabled:
            return None
        client: Redis = Redis.from_url(section.url, db=section.database)  # pyright: ignore[reportUnknownMemberType]
        stack.push_async_callback(client.aclose)
        return RedisHotState(client, _PARTICIPANT)

    async def _answer_all(self, stop: asyncio.Event) -> None:
        states = Rounds[str, _HopCopy](PROJECTION_SECONDS)
        while not stop.is_set():
            changed: dict[str, _HopCopy] = {}
            commits: list[EncodedDocument] = []
            records: list[Record] = []
            for message in await self._reader.take():
                workflow_id = key_of(message)
                hop = self._hops[workflow_id][self._seen[workflow_id]]
                self._seen[workflow_id] += 1
                changed[workflow_id] = hop
                commits.append(hop.commit)
                records.extend(hop.records)
                self._offsets[lane_of(message)] = (message.offset() or 0) + 1
            if commits:
                await self._commits.insert_many(commits, ordered=False)
                await self._publisher.publish(records)
                states.changed(changed)
            await states.begin_if_due(self._project)
        await states.finish(self._project)

    async def _project(self, states: Mapping[str, _HopCopy]) -> None:
        offsets = dict(self._offsets)
        new: list[GuardedWrite] = []
        known: list[GuardedWrite] = []
        for workflow_id, hop in states.items():
            over = {"_id": workflow_id, "version": {"$lt": hop.version}}
            writes = known if workflow_id in self._projected else new
            writes.append(GuardedWrite(over, hop.state))
        self._projected.update(states)
        await write_guarded(self._workflows, new=new, known=known)
        if self._hot_state is not None:
            await self._hot_state.save([{**h.document, "_id": id_} for id_, h in states.items()])
        await self._projections.save_starts(
            [InboxStart(*lane, _PARTICIPANT, offset) for lane, offset in offsets.items()]
        )
        await self._reader.commit(offsets)


def _hops(saga: Saga) -> list[_HopCopy]:
    return [
        _HopCopy(
            [encode(message) for message in hop.messages],
            commit_documents.to_stored(hop.commit),
            hop.commit.last_version,
            workflow_documents.to_stored(hop.document),
            hop.document,
        )
        for hop in saga.hops
    ]


def _renamed_hop(hop: _HopCopy, old: bytes, new: bytes) -> _HopCopy:
    return hop._replace(
        records=[_renamed(record, old, new) for record in hop.records],
        commit=EncodedDocument(bytes(hop.commit.raw).replace(old, new)),
        state=EncodedDocument(bytes(hop.state.raw).replace(old, new)),
    )


# -- in place of the participant -------------------------------------------------------------------


class ParticipantCopy:
    """Writes replies and the records of idempotency keys."""

    def __init__(self, saga: Saga, phases: Mapping[str, int], settings: Settings) -> None:
        self._settings = settings
        old, answers = saga.workflow_id.encode(), _answers(saga)
        self._answers = {
            each: [_renamed_answer(answer, old, each.encode()) for answer in answers]
            for each in _ids(phases)
        }
        self._requests = sorted(
            {message.topic for hop in saga.hops for message in hop.messages} - {topics.EVENTS}
        )

    async def run(self, stop: asyncio.Event) -> None:
        tune_interpreter()
        kafka = kafka_settings(self._settings)
        async with AsyncExitStack() as stack:
            writer = KafkaWriter(kafka.bootstrap_servers, kafka.properties, kafka.topic_prefix)
            stack.push_async_callback(writer.close)
            keys: RedisKeyStore | None = None
            if self._settings.redis.enabled:
                keys = RedisKeyStore(self._settings.redis.address)
                stack.push_async_callback(keys.close)
            properties = {
                "group.id": f"{kafka.topic_prefix}{GROUP_PREFIX}{_PARTICIPANT}",
                "enable.auto.offset.store": True,
                "enable.auto.commit": True,
                "auto.commit.interval.ms": 1_000,
                "partition.assignment.strategy": "range",
                **kafka.client(),
            }
            reader = KafkaReader(properties, [kafka.on_broker(topic) for topic in self._requests])
            stack.push_async_callback(reader.close)
            await self._answer_all(reader, writer, keys, stop)

    async def _answer_all(
        self,
        reader: KafkaReader,
        writer: KafkaWriter,
        keys: RedisKeyStore | None,
        stop: asyncio.Event,
    ) -> None:
        seen = Counter[str]()
        while not stop.is_set():
            answers: list[_AnswerCopy] = []
            for message in await reader.take():
                workflow_id = key_of(message)
                answers.append(self._answers[workflow_id][seen[workflow_id]])
                seen[workflow_id] += 1
            if not answers:
                continue
            if keys is not None:
                await keys.open({answer.key: 0 for answer in answers})
                await keys.save({answer.key: answer.record for answer in answers})
            await writer.write([answer.reply for answer in answers])


def _answers(saga: Saga) -> list[_AnswerCopy]:
    return [_AnswerCopy(encode(each.reply), each.key, each.record) for each in saga.answers]


def _renamed_answer(answer: _AnswerCopy, old: bytes, new: bytes) -> _AnswerCopy:
    return answer._replace(
        reply=_renamed(answer.reply, old, new), key=answer.key.replace(old.decode(), new.decode())
    )


def _renamed(record: Record, old: bytes, new: bytes) -> Record:
    """The record of another workflow; headers without the id are shared."""
    return Record(
        topic=record.topic,
        key=new,
        value=(record.value or b"").replace(old, new),
        headers=tuple(
            [
                (name, value.replace(old, new)) if old in value else (name, value)
                for name, value in record.headers
            ]
        ),
    )

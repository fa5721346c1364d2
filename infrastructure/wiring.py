"""Assembles the ports of a run mode. The only module that knows every adapter."""

from __future__ import annotations

import os
import socket
from collections.abc import AsyncGenerator, Awaitable, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from dataclasses import dataclass
from datetime import timedelta
from functools import partial
from pathlib import Path

from conveyor.kafka import WORKERS_GROUP_PREFIX, KafkaTransport
from conveyor.key_store import MemoryKeyStore
from conveyor.redis_keys import RedisKeyStore

from adapters.kafka.feed import KafkaEventFeed
from adapters.kafka.health import KafkaProbe
from adapters.kafka.inbox import KafkaInbox
from adapters.kafka.publisher import KafkaPublisher
from adapters.kafka.request_readers import KafkaRequestReaders
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topic_repair import KafkaTopicRepair
from adapters.kafka.topics import ensure_request_topic
from adapters.kafka.trimming import KafkaInboxTrimmer
from adapters.mongodb.connection import connect
from adapters.mongodb.definitions import MongoDefinitionRepository
from adapters.mongodb.event_log import MongoEventLog
from adapters.mongodb.projections import MongoProjections
from adapters.mongodb.queries import MongoWorkflowQueries
from adapters.mongodb.schema import migrate
from adapters.partitioner import partition_for
from adapters.redis.connection import connect as connect_redis
from adapters.redis.hot_state import RedisHotState
from adapters.sqlite.definitions import SqliteDefinitionRepository
from adapters.sqlite.event_log import EngineSession, SqliteEventLog
from adapters.sqlite.feed import SqliteEventFeed
from adapters.sqlite.inbox import SqliteInbox
from adapters.sqlite.participant import (
    ParticipantSession,
    SqliteKeyStore,
    SqliteParticipantTransport,
)
from adapters.sqlite.projections import SqliteProjections
from adapters.sqlite.publisher import SqliteEnginePublisher, SqlitePublisher
from adapters.sqlite.queries import SqliteWorkflowQueries
from adapters.sqlite.request_readers import SqliteRequestReaders
from adapters.sqlite.retention import trim
from adapters.sqlite.store import SqliteStore
from application.aggregates.catalog import CATALOG
from application.definitions.registry import DefinitionRegistry
from application.engine.environment import Ports, ProcessorSettings
from application.engine.processor import Processor
from application.gateway import SOURCE, CommandGateway
from application.ports import (
    Clock,
    EventFeed,
    EventLog,
    HotState,
    Inbox,
    InboxTrimmer,
    Projections,
    PublishEventPort,
    RequestReaders,
    SetupError,
    Telemetry,
    TopicRepair,
    Unavailable,
    WorkflowDefinitionRepository,
    WorkflowQueries,
)
from application.queries import WorkflowReader
from application.workers.desk import ServicePorts
from infrastructure.clock import SystemClock
from infrastructure.settings import Settings, listed
from infrastructure.trimming import INBOX_ADVICE, Trimming, trim_inbox

#: Checks one server: None if it responds, else what is wrong.
Probe = Callable[[], Awaitable[str | None]]


@dataclass(frozen=True, kw_only=True)
class Backbone:
    """Stores and topics of one run mode, as ports."""

    mode: str
    event_log: EventLog
    projections: Projections
    queries: WorkflowQueries
    registry: DefinitionRegistry
    definitions: WorkflowDefinitionRepository
    #: For the engine, which may publish in one transaction with its log.
    engine_publisher: PublishEventPort
    #: None in the embedded mode, where no topic refuses messages.
    topic_repair: TopicRepair | None
    #: For all others.
    publisher: PublishEventPort
    #: Makes every `publish` that waits for a server raise Unavailable, now and later.
    give_up_publishing: Callable[[], Awaitable[None]]
    feed: EventFeed
    hot_state: HotState | None
    clock: Clock
    #: Makes the inbox, given its number of partitions.
    new_inbox: Callable[[int], Inbox]
    #: Migrates an older store to this schema. Raises SetupError, Unavailable.
    migrate: Callable[[], Awaitable[None]]
    #: None if something else does this.
    trimming: Trimming | None
    #: Called with a service's name when a definition of a new service is registered.
    ensure_request_topic: Callable[[str], Awaitable[None]]
    #: For the health document.
    request_readers: RequestReaders
    #: component of the health document -> how to ask it
    probes: dict[str, Probe]
    #: Opens the requests and key records of a service, for its workers.
    worker_ports: Callable[[str], ServicePorts]

    def reader(self) -> WorkflowReader:
        return WorkflowReader(
            self.event_log, self.projections, self.queries, self.registry.get, self.clock
        )

    def gateway(self) -> CommandGateway:
        return CommandGateway(self.publisher, self.feed, self.clock)

    async def processor(self, settings: Settings, telemetry: Telemetry) -> Processor:
        """The engine. Raises SetupError before `conveyor init` ran and on a newer schema, Unavailable."""
        await self.migrate()
        layout = await self.projections.layout()
        if layout is None:
            raise SetupError("the stores are empty: run `conveyor init` first")
        ports = Ports(
            inbox=self.new_inbox(layout.partitions),
            publisher=self.engine_publisher,
            event_log=self.event_log,
            projections=self.projections,
            hot_state=self.hot_state,
            definitions=self.registry,
            telemetry=telemetry,
            clock=self.clock,
            topic_repair=self.topic_repair,
        )
        engine = settings.engine
        processor_settings = ProcessorSettings(
            batch_size=engine.batch_size,
            projection_interval=timedelta(milliseconds=engine.projection_interval_ms),
            timers_ahead=timedelta(milliseconds=settings.scheduler.retry_interval_ms),
            cached_instances=engine.cached_instances,
        )
        count = layout.partitions
        return Processor(
            ports,
            layout,
            lambda key: partition_for(key.encode(), count),
            CATALOG,
            processor_settings,
        )


def kafka_settings(settings: Settings) -> KafkaSettings:
    kafka = settings.kafka
    return KafkaSettings(
        bootstrap_servers=kafka.bootstrap_servers,
        topic_prefix=kafka.topic_prefix,
        group_id=kafka.topic_prefix + kafka.group_id,
        instance_id=settings.instance_id,
        group_protocol=kafka.group_protocol,
        session_timeout_ms=kafka.session_timeout_ms,
        # This service's own API names its callers.
        actor_sources=frozenset({SOURCE, *listed(settings.auth.kafka_sources)}),
        properties=kafka.client_properties(),
    )


@asynccontextmanager
async def production(settings: Settings) -> AsyncGenerator[Backbone]:
    """Kafka, MongoDB and Redis."""
    async with AsyncExitStack() as stack:
        kafka = kafka_settings(settings)
        clock = SystemClock()
        mongo = connect(settings.mongodb.uri)
        stack.push_async_callback(mongo.close)
        database = mongo[settings.mongodb.database]
        hot_state: HotState | None = None
        probes: dict[str, Probe] = {"kafka": KafkaProbe(kafka).problem}

        async def store_problem() -> str | None:
            return await _problem(lambda: mongo.admin.command("ping"))

        probes["eventStore"] = store_problem
        if settings.redis.enabled:
            client = connect_redis(settings.redis.url, database=settings.redis.database)
            stack.push_async_callback(client.aclose)
            owner = settings.instance_id or f"{socket.gethostname()}-{os.getpid()}"
            hot_state = RedisHotState(client, owner)

            async def redis_problem() -> str | None:
                return await _problem(client.ping)  # pyright: ignore[reportUnknownMemberType, reportUnknownArgumentType]

            probes["redis"] = redis_problem
        # Two, so that a problem with a caller's message does not stop the engine's producer.
        engine_publisher = KafkaPublisher(kafka)
        publisher = KafkaPublisher(kafka)

        async def give_up_publishing() -> None:
            await engine_publisher.close()
            await publisher.close()

        # A publisher's thread that still waits would keep the process alive until Kafka is back.
        stack.push_async_callback(give_up_publishing)
        feed = KafkaEventFeed(kafka)
        definitions = MongoDefinitionRepository(database)
        projections = MongoProjections(database)
        yield Backbone(
            mode="kafka",
            event_log=MongoEventLog(database),
            projections=projections,
            queries=MongoWorkflowQueries(database),
            registry=DefinitionRegistry(definitions, clock),
            definitions=definitions,
            engine_publisher=engine_publisher,
            topic_repair=KafkaTopicRepair(kafka),
            publisher=publisher,
            give_up_publishing=give_up_publishing,
            feed=feed,
            hot_state=hot_state,
            clock=clock,
            new_inbox=lambda partitions: KafkaInbox(kafka, partitions),
            migrate=lambda: migrate(database),
            trimming=_inbox_trimming(settings, KafkaInboxTrimmer(kafka), projections),
            ensure_request_topic=lambda service: ensure_request_topic(kafka, service),
            request_readers=KafkaRequestReaders(kafka),
            probes=probes,
            worker_ports=partial(_kafka_service, settings),
        )


def _kafka_service(settings: Settings, _service: str) -> ServicePorts:
    """As a participant of its own, in a group of its own."""
    kafka, redis = kafka_settings(settings), settings.redis
    return ServicePorts(
        KafkaTransport(
            kafka.bootstrap_servers,
            topic_prefix=kafka.topic_prefix,
            properties=kafka.properties,
            group_prefix=WORKERS_GROUP_PREFIX,
        ),
        RedisKeyStore(redis.address) if redis.enabled else MemoryKeyStore(),
    )


def _inbox_trimming(
    settings: Settings, trimmer: InboxTrimmer, projections: Projections
) -> Trimming | None:
    interval = settings.kafka.inbox_trim_interval_seconds
    if interval == 0:
        return None
    return Trimming(
        trim=partial(trim_inbox, trimmer, projections),
        interval_seconds=interval,
        advice=INBOX_ADVICE,
    )


@dataclass(frozen=True, kw_only=True)
class Embedded:
    """The embedded mode: the backbone and its file."""

    backbone: Backbone
    store: SqliteStore
    #: What the participants of this process share.
    participants: ParticipantSession


@asynccontextmanager
async def embedded(path: Path, settings: Settings) -> AsyncGenerator[Embedded]:
    """The embedded mode on one SQLite file, which only this process uses."""
    store = SqliteStore(path)
    try:
        clock = SystemClock()
        session = EngineSession(store)
        participants = ParticipantSession(store)
        definitions = SqliteDefinitionRepository(store)

        async def migrated_when_opened() -> None:
            """Nothing to do: the file is migrated when it is opened."""

        async def no_topic_needed(_service: str) -> None:
            """Nothing to do: the file creates topics on the first write."""

        async def nothing_waits() -> None:
            """Nothing to do: writing to the file takes no longer than the disk."""

        async def store_problem() -> str | None:
            return await _problem(lambda: store.query("SELECT 1", ()))

        yield Embedded(
            store=store,
            participants=participants,
            backbone=Backbone(
                mode="embedded",
                event_log=SqliteEventLog(session),
                projections=SqliteProjections(store),
                queries=SqliteWorkflowQueries(store),
                registry=DefinitionRegistry(definitions, clock),
                definitions=definitions,
                engine_publisher=SqliteEnginePublisher(session),
                topic_repair=None,
                publisher=SqlitePublisher(store),
                give_up_publishing=nothing_waits,
                feed=SqliteEventFeed(store),
                hot_state=None,
                clock=clock,
                new_inbox=lambda _: SqliteInbox(session),
                migrate=migrated_when_opened,
                trimming=Trimming(
                    trim=partial(trim, store),
                    interval_seconds=settings.scheduler.outbox_cleanup_interval_ms / 1000,
                ),
                ensure_request_topic=no_topic_needed,
                request_readers=SqliteRequestReaders(store),
                probes={"eventStore": store_problem},
                worker_ports=lambda _: ServicePorts(
                    SqliteParticipantTransport(participants), SqliteKeyStore(participants)
                ),
            ),
        )
    finally:
        await store.close()


async def _problem(ask: Callable[[], Awaitable[object]]) -> str | None:
    """The problem of a server, if any. Whatever its driver raises is reported, not raised."""
    try:
        await ask()
    except Unavailable as away:
        return away.detail
    except Exception as error:  # noqa: BLE001 - a probe reports any failure
        return f"{type(error).__name__}: {str(error)[:200]}"
    return None

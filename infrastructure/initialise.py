"""`conveyor init`: topics, indexes, the inbox layout and the shipped definitions; may be repeated (PROTOCOL 11, 16)."""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping, Sequence

import structlog
from conveyor import topics

from adapters.kafka.cluster import Cluster
from adapters.kafka.settings import KafkaSettings
from adapters.kafka.topics import inbox_kept_from, init_topics, names_of
from adapters.mongodb.connection import connect
from adapters.mongodb.definitions import MongoDefinitionRepository
from adapters.mongodb.projections import MongoProjections
from adapters.mongodb.schema import ensure_schema
from adapters.sqlite.store import SqliteStore
from application.definitions import (
    DefinitionRegistry,
    InvalidDefinition,
    restore_definition,
    services_of,
    shipped_definitions,
)
from application.ports import Document, InboxLayout, InboxStart, Projections, SetupError
from domain.aggregate.position import TopicPartition
from infrastructure.clock import SystemClock
from infrastructure.settings import Settings
from infrastructure.wiring import Backbone, kafka_settings

log = structlog.get_logger("conveyor")

INBOX_TOPICS = (topics.COMMANDS, topics.REPLIES)
SAFE_REPLICATION = 3


async def run_init(
    settings: Settings,
    partitions: int = 12,
    replication_factor: int | None = None,
    *,
    insecure: bool = False,
) -> InboxLayout:
    """Prepare Kafka and MongoDB. Raises SetupError, TopicMismatchError, Unavailable."""
    kafka = kafka_settings(settings)
    _refuse_unsafe(settings, Cluster(kafka).brokers(10.0), replication_factor, insecure=insecure)
    client = connect(settings.mongodb.uri)
    try:
        database = client[settings.mongodb.database]
        # First, so that the database of a newer release is refused before anything is changed.
        await ensure_schema(database)
        projections = MongoProjections(database)
        await _refuse_other_topics(kafka, await projections.layout())
        definitions = MongoDefinitionRepository(database)
        registered = _services_of(await definitions.all())
        services = {*settings.services, *_services_of(shipped_definitions()), *registered}
        topic_ids = await init_topics(
            kafka,
            partitions=partitions,
            replication_factor=replication_factor,
            services=sorted(services),
        )
        kept_from = await inbox_kept_from(kafka, partitions)
        layout = await _write_layout(projections, topic_ids, partitions, kept_from)
        await _register_shipped(DefinitionRegistry(definitions, SystemClock()))
    finally:
        await client.close()
    return layout


async def initialise_embedded(backbone: Backbone, store: SqliteStore) -> None:
    """The same for the embedded file: one partition; topics are created when needed."""
    topic_ids = {name: (await store.topic(name)).id for name in INBOX_TOPICS}
    await _write_layout(backbone.projections, topic_ids, 1, {})
    await _register_shipped(backbone.registry)


def _refuse_unsafe(
    settings: Settings, brokers: int, replication_factor: int | None, *, insecure: bool
) -> None:
    factor = replication_factor or min(SAFE_REPLICATION, brokers)
    if settings.profile == "production" and factor < SAFE_REPLICATION and not insecure:
        raise SetupError(
            f"CONVEYOR_PROFILE=production keeps {SAFE_REPLICATION} copies of every message, and this would keep"
            f" {factor} (brokers that respond: {brokers}): add brokers, or accept the risk with --insecure"
        )


async def _refuse_other_topics(kafka: KafkaSettings, layout: InboxLayout | None) -> None:
    """The database of an installation whose topics are there under other names is not taken over.

    Its engines would refuse to go on. Topics that are gone were recreated, or are of another cluster.
    """
    if layout is None:
        return
    names = await names_of(kafka, layout.topic_ids.values())
    for topic, topic_id in layout.topic_ids.items():
        name = names.get(topic_id)
        if name is not None and name != kafka.on_broker(topic):
            raise SetupError(
                f"this database belongs to the topic {name}, and these settings name {kafka.on_broker(topic)}: set"
                " CONVEYOR_KAFKA__TOPIC_PREFIX as it was, or another CONVEYOR_MONGODB__DATABASE"
            )


def _services_of(documents: Iterable[Document]) -> set[str]:
    """Every service that these definitions send requests to."""
    services: set[str] = set()
    for document in documents:
        try:
            services |= services_of(restore_definition(document))
        except InvalidDefinition as fault:
            # A newer version of this service registered it and created its topics.
            log.warning("a definition cannot be read", detail=str(fault))
    return services


async def _write_layout(
    projections: Projections,
    topic_ids: Mapping[str, str],
    partitions: int,
    kept_from: Mapping[TopicPartition, int],
) -> InboxLayout:
    known = await projections.layout()
    if known is not None and known.partitions != partitions:
        raise SetupError(
            f"the inbox was made with {known.partitions} partitions and keeps them: a workflow's place depends on"
            f" it. Run `conveyor init --partitions {known.partitions}`"
        )
    layout = InboxLayout(
        topic_ids={name: topic_ids[name] for name in INBOX_TOPICS},
        partitions=partitions,
        secret=known.secret if known is not None else secrets.token_bytes(32),
    )
    # Starts first, so that an engine that finds the layout finds them too.
    stored = {(s.topic, s.partition, s.topic_id) for s in await projections.starts()}
    await projections.save_starts(
        [
            first
            for first in _first_starts(layout, kept_from)
            if (first.topic, first.partition, first.topic_id) not in stored
        ]
    )
    await projections.save_layout(layout)
    return layout


def _first_starts(
    layout: InboxLayout, kept_from: Mapping[TopicPartition, int]
) -> Sequence[InboxStart]:
    """The starts of an empty store: the oldest retained messages, whatever was deleted before them."""
    return [
        InboxStart(name, partition, topic_id, kept_from.get(TopicPartition(name, partition), 0))
        for name, topic_id in layout.topic_ids.items()
        for partition in range(layout.partitions)
    ]


async def _register_shipped(registry: DefinitionRegistry) -> None:
    for document in shipped_definitions():
        await registry.register(document)

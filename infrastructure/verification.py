"""`conveyor verify`: runs the verifier on the stores of a run mode, without writing to them."""

from __future__ import annotations

from datetime import timedelta
from pathlib import Path

from adapters.kafka.published_events import KafkaPublishedEvents
from adapters.mongodb.connection import connect
from adapters.mongodb.definitions import MongoDefinitionRepository
from adapters.mongodb.projections import MongoProjections
from adapters.mongodb.schema import require_current
from adapters.mongodb.verification import MongoStoreScan
from adapters.sqlite.verification import SqlitePublishedEvents, SqliteReader, SqliteStoreScan
from application.aggregates.catalog import CATALOG
from application.definitions.compilation import restore_definition
from application.definitions.registry import DefinitionRegistry
from application.ports import SetupError
from application.verification.findings import Report
from application.verification.verifier import Verifier
from domain.definition.definition import WorkflowDefinition
from infrastructure.clock import SystemClock
from infrastructure.settings import Settings
from infrastructure.wiring import kafka_settings


async def verify_production(settings: Settings, settle: timedelta) -> Report:
    """Kafka and MongoDB.

    Raises `Unavailable`; `SetupError` or `TopicMismatchError` before `init` ran, or on another schema.
    """
    client = connect(settings.mongodb.uri)
    try:
        database = client[settings.mongodb.database]
        await require_current(database)
        if await MongoProjections(database).layout() is None:
            raise SetupError("the stores are empty: run `conveyor init` first")
        clock = SystemClock()
        verifier = Verifier(
            MongoStoreScan(database),
            KafkaPublishedEvents(kafka_settings(settings)),
            DefinitionRegistry(MongoDefinitionRepository(database), clock).get,
            clock,
            CATALOG,
        )
        return await verifier.run(settle)
    finally:
        await client.close()


async def verify_embedded(db: Path, settle: timedelta) -> Report:
    """The file of `conveyor dev`, in use or not. Raises `NoStoreError`, `SetupError`, `Unavailable`."""
    reader = SqliteReader(db)

    async def find_definition(name: str, version: int) -> WorkflowDefinition | None:
        document = await reader.definition(name, version)
        return None if document is None else restore_definition(document)

    try:
        verifier = Verifier(
            SqliteStoreScan(reader),
            SqlitePublishedEvents(reader),
            find_definition,
            SystemClock(),
            CATALOG,
        )
        return await verifier.run(settle)
    finally:
        reader.close()

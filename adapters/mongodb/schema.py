"""Collections, indexes and the schema's version. `ensure_schema` is what `init` runs; repeating it changes nothing.

On a sharded cluster, shard `workflow_events` by `{workflowId: 1}`. The unique index begins with this field, so the
fence against a second writer of a version holds across shards.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from pymongo import ASCENDING, DESCENDING, IndexModel

from adapters.mongodb.connection import Database, durable, reaching_the_store
from application.ports import SetupError

#: Raised when stored documents change their shape or get another index: 2 keeps the data of events as text
#: (ADR 21), 3 has the index of open incidents, 4 that of tenants. Commits are never rewritten, so a new version
#: reads the documents of all before it.
SCHEMA_VERSION = 4

_VERSION_ID = "schema"


def _index(name: str, *keys: tuple[str, int], unique: bool = False) -> IndexModel:
    # Only written if true: to a server, `unique: false` is a different index from one without the option.
    return IndexModel(keys, name=name, **({"unique": True} if unique else {}))


INDEXES: Mapping[str, Sequence[IndexModel]] = {
    "workflow_events": (
        _index(
            "workflow_version_idx",
            ("workflowId", ASCENDING),
            ("firstVersion", ASCENDING),
            unique=True,
        ),
        # What an assignment reads again (PROTOCOL rule 6).
        _index(
            "cause_idx",
            ("entries.cause.topicId", ASCENDING),
            ("entries.cause.partition", ASCENDING),
            ("entries.cause.offset", ASCENDING),
        ),
        # Messages that an instance has seen (PROTOCOL rule 9).
        _index("message_idx", ("workflowId", ASCENDING), ("entries.messageId", ASCENDING)),
    ),
    "workflows": (
        _index("status_type_idx", ("status", ASCENDING), ("workflowType", ASCENDING)),
        _index("started_at_idx", ("startedAt", DESCENDING)),
        # The order of the list, in which `startedAt` alone has ties.
        _index("list_idx", ("startedAt", DESCENDING), ("_id", DESCENDING)),
        _index("correlation_id_idx", ("correlationId", ASCENDING)),
        _index("next_timer_idx", ("partition", ASCENDING), ("nextTimerAt", ASCENDING)),
        _index(
            "release_queue_idx",
            ("releaseQueue", ASCENDING),
            ("status", ASCENDING),
            ("priority", ASCENDING),
            ("dueAt", ASCENDING),
        ),
        _index("definition_idx", ("definition", ASCENDING), ("startedAt", DESCENDING)),
        _index("user_id_idx", ("userId", ASCENDING), ("startedAt", DESCENDING)),
        _index("wallet_idx", ("wallet", ASCENDING), ("startedAt", DESCENDING)),
        _index("tenant_idx", ("tenant", ASCENDING), ("startedAt", DESCENDING), ("_id", DESCENDING)),
        _index("label_idx", ("labelPairs", ASCENDING), ("startedAt", DESCENDING)),
        _index("incident_idx", ("incidents.code", ASCENDING), ("startedAt", DESCENDING)),
    ),
    "workflow_definitions": (
        _index("name_version_idx", ("name", ASCENDING), ("version", DESCENDING), unique=True),
    ),
}


async def ensure_schema(database: Database) -> None:
    """Create what is missing and note the schema's version.

    Raises `Unavailable`, `SetupError` for the database of a newer release.
    """
    _refuse_newer(await _version(database))
    with reaching_the_store():
        for name, indexes in INDEXES.items():
            await database[name].create_indexes(list(indexes))
        await durable(database, "schema_version").update_one(
            {"_id": _VERSION_ID}, {"$max": {"version": SCHEMA_VERSION}}, upsert=True
        )


async def migrate(database: Database) -> None:
    """Upgrade an older database to this version; leave one without `init` alone. Raises as `ensure_schema`."""
    version = await _version(database)
    _refuse_newer(version)
    if 0 < version < SCHEMA_VERSION:
        await ensure_schema(database)


async def require_current(database: Database) -> None:
    """For readers. Raises `Unavailable`, and `SetupError` unless the database has this version."""
    version = await _version(database)
    _refuse_newer(version)
    if 0 < version < SCHEMA_VERSION:
        raise SetupError(
            f"the database {database.name} has schema version {version}: run `conveyor init`, which brings it to"
            f" version {SCHEMA_VERSION}"
        )


async def _version(database: Database) -> int:
    """The stored version, 0 before `init`."""
    with reaching_the_store():
        document = await durable(database, "schema_version").find_one({"_id": _VERSION_ID})
    return document["version"] if document is not None else 0


def _refuse_newer(version: int) -> None:
    if version > SCHEMA_VERSION:
        raise SetupError(
            f"the database has schema version {version}, this Conveyor reads up to {SCHEMA_VERSION}: use the newer"
            " Conveyor, or another CONVEYOR_MONGODB__DATABASE"
        )

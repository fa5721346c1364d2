"""What others find in the database: collections, documents and indexes (CONTRACT 1 and 4)."""

from __future__ import annotations

import asyncio
from typing import Any

import pytest

from adapters.mongodb import projections as projections_module
from adapters.mongodb.connection import Database
from adapters.mongodb.definitions import MongoDefinitionRepository
from adapters.mongodb.event_log import MongoEventLog
from adapters.mongodb.projections import MongoProjections
from adapters.mongodb.schema import SCHEMA_VERSION, ensure_schema
from application.ports import Commit, Document, Entry, InboxLayout, InboxStart, RecordedEvent
from domain.aggregate.position import Position
from tests.contracts.samples import commit, entry, event, position, workflow

pytestmark = pytest.mark.mongo


async def index_keys(database: Database, collection: str) -> dict[str, list[tuple[str, Any]]]:
    information = await database[collection].index_information()
    return {name: list(index["key"]) for name, index in information.items()}


async def test_the_indexes_of_workflows(database: Database) -> None:
    """The named indexes exist with the keys that the requirements give."""
    keys = await index_keys(database, "workflows")

    assert keys["status_type_idx"] == [("status", 1), ("workflowType", 1)]
    assert keys["started_at_idx"] == [("startedAt", -1)]
    assert keys["correlation_id_idx"] == [("correlationId", 1)]
    assert keys["next_timer_idx"] == [("partition", 1), ("nextTimerAt", 1)]
    assert keys["release_queue_idx"] == [
        ("releaseQueue", 1),
        ("status", 1),
        ("priority", 1),
        ("dueAt", 1),
    ]
    assert {"definition_idx", "user_id_idx", "wallet_idx", "label_idx"} <= keys.keys()
    assert keys["incident_idx"] == [("incidents.code", 1), ("startedAt", -1)]


async def test_workflow_and_version_are_unique(database: Database) -> None:
    """Beside the `_id`, so that the fence holds on a sharded cluster too."""
    information = await database["workflow_events"].index_information()

    index = information["workflow_version_idx"]
    assert list(index["key"]) == [("workflowId", 1), ("firstVersion", 1)]
    assert index["unique"] is True


async def test_ensure_schema_again_changes_nothing(database: Database) -> None:
    """Every `init`, also several at once, leaves the same indexes and the schema's version."""
    before = await index_keys(database, "workflows")

    await asyncio.gather(ensure_schema(database), ensure_schema(database))

    assert await index_keys(database, "workflows") == before
    assert await database["schema_version"].find().to_list() == [
        {"_id": "schema", "version": SCHEMA_VERSION}
    ]


async def test_a_commit_is_one_readable_document(database: Database) -> None:
    """Its `_id` carries the first version; entries, causes and the marks of events can be queried."""
    cause = Position("topic-id", "orchestration.workflow.commands", 3, 2, 7)
    started = RecordedEvent(
        "orchestration.workflow.started",
        b'{"eventId":"wf-1:1","aggregateId":"wf-1","version":1,"occurredAt":"2026-11-21T02:30:00.123Z","$id":1}',
        "RECOVERY",
    )
    await MongoEventLog(database).append(
        [Commit("wf-1", 1, 3, (Entry(cause, "/orders cmd-7", (started,), primary=1),))]
    )

    [stored] = await database["workflow_events"].find().to_list()

    assert stored == {
        "_id": "wf-1:000001",
        "workflowId": "wf-1",
        "firstVersion": 1,
        "lastVersion": 1,
        "partition": 3,
        "entries": [
            {
                "cause": {
                    "topicId": "topic-id",
                    "topic": "orchestration.workflow.commands",
                    "partition": 3,
                    "leaderEpoch": 2,
                    "offset": 7,
                },
                "messageId": "/orders cmd-7",
                "events": [
                    {
                        "type": "orchestration.workflow.started",
                        "data": started.json.decode(),
                        "kind": "RECOVERY",
                        "version": 1,
                        "occurredAt": "2026-11-21T02:30:00.123Z",
                    }
                ],
                "primary": 1,
            }
        ],
    }


@pytest.mark.parametrize(
    "condition",
    [
        {"entries.events.kind": "RECOVERY"},
        {"entries.events.type": "orchestration.workflow.started"},
        {"entries.events": {"$elemMatch": {"version": 2, "kind": "RECOVERY"}}},
        {"entries.events.occurredAt": {"$gt": "2026-11-21T02:30:00.123Z"}},
    ],
)
async def test_operators_find_events(database: Database, condition: Document) -> None:
    """By kind, type, version and time, without looking into the data."""
    wanted = event("wf-1", 2, occurredAt="2026-11-21T02:30:01.000Z")
    sought = RecordedEvent("orchestration.workflow.started", wanted.json, "RECOVERY")
    other = commit("wf-2", 1)
    await MongoEventLog(database).append(
        [Commit("wf-1", 2, 0, (Entry(position(2), "/orders 2", (sought,)),)), other]
    )

    found = await database["workflow_events"].find(condition).to_list()

    assert [document["workflowId"] for document in found] == ["wf-1"]


async def test_events_of_an_older_store_are_read(database: Database) -> None:
    """Before schema version 2 data was nested, and what BSON cannot hold a text named `json`."""
    log = MongoEventLog(database)
    written = Commit("wf-1", 1, 0, (entry("wf-1", range(1, 3), position(1)),))
    await log.append([written])
    nested, odd = written.entries[0].events
    older = [
        {"type": nested.type, "data": nested.data},
        {"type": odd.type, "json": odd.json.decode()},
    ]
    await database["workflow_events"].update_one(
        {"_id": written.id}, {"$set": {"entries.0.events": older}}
    )

    assert (await log.read({"wf-1": 0}))["wf-1"] == [written]


async def test_a_workflow_is_the_resource_with_its_id(database: Database) -> None:
    """Fields are stored under their names, steps embedded; labels get a form to search by."""
    document = workflow("wf-1", labels={"carrier": "DHL"}, inputParameters={"$id": 1, "a": 2})

    await MongoProjections(database).save([document])

    [stored] = await database["workflows"].find().to_list()
    assert stored.pop("labelPairs") == ["carrier:DHL"]
    assert stored.pop("asJsonText") == {"inputParameters": '{"$id":1,"a":2}'}
    del document["inputParameters"]
    assert stored == document


async def test_a_definition_is_the_registered_document(database: Database) -> None:
    """Its `_id` is name and version."""
    document = {"name": "orders", "version": 2, "steps": [{"id": "reserve"}]}

    await MongoDefinitionRepository(database).add(document)

    [stored] = await database["workflow_definitions"].find().to_list()
    assert stored == {"_id": "orders:2", **document}


async def test_inbox_positions_hold_what_belongs_to_the_inbox(database: Database) -> None:
    """States of inboxes, starts and the layout are no workflows."""
    projections = MongoProjections(database)

    await projections.save([{"_id": "inbox:0", "version": 3, "partition": 0}])
    await projections.save_starts([InboxStart("commands", 0, "id-a", 5)])
    await projections.save_layout(InboxLayout({"a.b": "id-a"}, 12, b"secret"))

    assert await database["workflows"].find().to_list() == []
    assert await database["inbox_positions"].find(sort=[("_id", 1)]).to_list() == [
        {"_id": "inbox:0", "version": 3, "partition": 0},
        {
            "_id": "layout",
            "topics": [{"topic": "a.b", "topicId": "id-a"}],
            "partitions": 12,
            "secret": b"secret",
        },
        {
            "_id": "start:commands:0",
            "topic": "commands",
            "partition": 0,
            "topicId": "id-a",
            "offset": 5,
        },
    ]


async def test_documents_of_other_processes_are_replaced_too(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is remembered as stored saves work only: unknown, forgotten and deleted ones are right."""
    monkeypatch.setattr(projections_module, "_REMEMBERED_MAX", 2)
    mine, others = MongoProjections(database), MongoProjections(database)
    await mine.save([workflow(f"wf-{number}", 1) for number in range(4)])

    await others.save([workflow(f"wf-{number}", 2) for number in range(4)])
    await database["workflows"].delete_one({"_id": "wf-3"})
    await mine.save([workflow(f"wf-{number}", 3) for number in range(4)])

    loaded = await others.load([f"wf-{number}" for number in range(4)])
    assert {key: document["version"] for key, document in loaded.items()} == {
        "wf-0": 3,
        "wf-1": 3,
        "wf-2": 3,
        "wf-3": 3,
    }


async def test_unknown_fields_of_a_commit_are_ignored(database: Database) -> None:
    """Fields that a later release adds to commits do not disturb this one."""
    log = MongoEventLog(database)
    await log.append([commit("wf-1", 1)])
    await database["workflow_events"].update_one(
        {"_id": "wf-1:000001"}, {"$set": {"writtenBy": "a later release"}}
    )

    assert list((await log.read({"wf-1": 0}))["wf-1"]) == [commit("wf-1", 1)]

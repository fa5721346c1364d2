"""A standalone server, a replica set and a sharded cluster are asked in the way that each of them answers."""

from __future__ import annotations

import uuid
from collections.abc import AsyncIterator
from contextlib import suppress

import pytest
from pymongo import AsyncMongoClient
from pymongo.asynchronous.settings import TopologySettings
from pymongo.hello import Hello
from pymongo.monitoring import (
    CommandFailedEvent,
    CommandListener,
    CommandStartedEvent,
    CommandSucceededEvent,
)
from pymongo.server_description import ServerDescription
from pymongo.topology_description import TOPOLOGY_TYPE, TopologyDescription

from adapters.mongodb.connection import Database
from adapters.mongodb.event_log import MongoEventLog
from application.ports import Document, Unavailable

pytestmark = pytest.mark.mongo

STANDALONE: Document = {"ok": 1, "isWritablePrimary": True, "maxWireVersion": 21}
REPLICA_SET: Document = {**STANDALONE, "setName": "rs0", "hosts": ["localhost:27017"]}
SHARDED: Document = {**STANDALONE, "msg": "isdbgrid"}


class Heard(CommandListener):
    """The read concerns of the finds that were sent."""

    def __init__(self) -> None:
        self.read_concerns: list[str] = []

    def started(self, event: CommandStartedEvent) -> None:
        if event.command_name == "find":
            self.read_concerns.append(event.command["readConcern"]["level"])

    def succeeded(self, event: CommandSucceededEvent) -> None: ...

    def failed(self, event: CommandFailedEvent) -> None: ...


class Elsewhere(AsyncMongoClient[Document]):
    """A client of the server of the tests, which has introduced itself as something else."""

    hello: Document

    @property
    def topology_description(self) -> TopologyDescription:
        address = ("localhost", 27017)
        server = ServerDescription(address, Hello(self.hello))
        return TopologyDescription(
            TOPOLOGY_TYPE.Unknown, {address: server}, None, None, None, TopologySettings()
        )


@pytest.fixture
def heard() -> Heard:
    return Heard()


@pytest.fixture
async def client(mongo_uri: str, heard: Heard) -> AsyncIterator[Elsewhere]:
    client = Elsewhere(mongo_uri, event_listeners=[heard])
    yield client
    await client.close()


@pytest.mark.parametrize(
    ("hello", "read_concern"),
    [(STANDALONE, "majority"), (REPLICA_SET, "linearizable"), (SHARDED, "linearizable")],
)
async def test_absence_is_confirmed_as_the_deployment_can(
    client: Elsewhere, heard: Heard, hello: Document, read_concern: str
) -> None:
    """A standalone server refuses linearizable reads; whoever may have lost an election must be asked for one."""
    client.hello = hello
    log = MongoEventLog(client[f"test-{uuid.uuid4()}"])

    # The server of the tests may really be a standalone one, and refuse.
    with suppress(Unavailable):
        await log.confirm_absent(["wf-1"])

    assert heard.read_concerns == [read_concern]


async def test_absence_is_confirmed_by_the_server_of_the_tests(database: Database) -> None:
    """Whatever it is, it answers."""
    assert await MongoEventLog(database).confirm_absent(["wf-1"]) == {"wf-1"}

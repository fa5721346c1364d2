"""What happens when MongoDB is away: the caller is told, and goes on when it is back."""

from __future__ import annotations

import asyncio
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from datetime import UTC, datetime
from typing import TypeVar

import pytest
from pymongo.errors import BulkWriteError
from pymongo.uri_parser import parse_uri

from adapters.mongodb.connection import Database, connect, refused_as_duplicates
from adapters.mongodb.definitions import MongoDefinitionRepository
from adapters.mongodb.event_log import MongoEventLog
from adapters.mongodb.projections import MongoProjections
from adapters.mongodb.queries import MongoWorkflowQueries
from adapters.mongodb.schema import ensure_schema
from application.ports import Unavailable, WorkflowFilter
from tests.contracts.samples import commit, position, workflow
from tests.tcp_proxy import TcpProxy

pytestmark = pytest.mark.mongo

T = TypeVar("T")


@pytest.fixture
async def proxy(mongo_uri: str) -> AsyncIterator[TcpProxy]:
    [(host, port)] = parse_uri(mongo_uri)["nodelist"]
    proxy = TcpProxy(host, port or 27017)
    await proxy.open()
    yield proxy
    await proxy.close()


@pytest.fixture
async def database(proxy: TcpProxy) -> AsyncIterator[Database]:
    uri = f"mongodb://127.0.0.1:{proxy.port}/?directConnection=true"
    async with connect(uri, timeout_seconds=0.5) as client:
        name = f"test-{uuid.uuid4()}"
        await ensure_schema(client[name])
        yield client[name]


async def test_every_call_reports_a_server_that_is_away(
    proxy: TcpProxy, database: Database
) -> None:
    """Reads and writes of every adapter raise `Unavailable`, and work again afterwards."""
    log, projections = MongoEventLog(database), MongoProjections(database)
    queries, definitions = MongoWorkflowQueries(database), MongoDefinitionRepository(database)
    calls = (
        lambda: log.append([commit("wf-1", 1)]),
        lambda: log.read({"wf-1": 0}),
        lambda: log.since([position(0)]),
        lambda: log.confirm_absent(["wf-1"]),
        lambda: projections.save([workflow("wf-1")]),
        lambda: projections.due(0, datetime.now(UTC), 1),
        lambda: queries.find(WorkflowFilter(), 1, None),
        definitions.all,
    )
    await proxy.close()

    for call in calls:
        with pytest.raises(Unavailable) as failure:
            await call()
        assert failure.value.component == "eventStore"
        assert failure.value.detail

    await proxy.open()
    for call in calls:
        await answered(call)


async def test_an_append_without_an_answer_has_an_unknown_outcome(
    proxy: TcpProxy, database: Database
) -> None:
    """The commit may be there: a second append of it is refused, and reading shows it."""
    log = MongoEventLog(database)
    await log.append([commit("wf-1", 1)])

    proxy.replies_pass.clear()
    with pytest.raises(Unavailable):
        await log.append([commit("wf-1", 2)])

    await proxy.cut()
    proxy.replies_pass.set()
    again = await answered(lambda: log.append([commit("wf-1", 2), commit("wf-1", 3)]))
    assert list(again) == [False, True]
    chain = (await log.read({"wf-1": 0}))["wf-1"]
    assert [found.first_version for found in chain] == [1, 2, 3]


async def test_projections_are_right_after_an_unknown_outcome(
    proxy: TcpProxy, database: Database
) -> None:
    """What may have been written is not taken for unwritten, nor the other way round."""
    projections = MongoProjections(database)
    await projections.save([workflow("wf-1", 1)])

    proxy.replies_pass.clear()
    for document in (workflow("wf-1", 3), workflow("wf-2", 3)):
        with pytest.raises(Unavailable):
            await projections.save([document])

    await proxy.cut()
    proxy.replies_pass.set()
    await answered(lambda: projections.save([workflow("wf-1", 2), workflow("wf-2", 4)]))
    loaded = await projections.load(["wf-1", "wf-2"])
    assert {key: document["version"] for key, document in loaded.items()} == {"wf-1": 3, "wf-2": 4}


def test_only_duplicate_keys_are_answers() -> None:
    """Any other write error, or a write concern that was not met, leaves the outcome unknown."""
    duplicate = {"index": 3, "code": 11000, "errmsg": "E11000 duplicate key"}
    too_deep = {"index": 1, "code": 15, "errmsg": "exceeded depth"}
    step_down = {"code": 189, "errmsg": "primary stepped down"}

    assert refused_as_duplicates(bulk_error([duplicate], [])) == [3]
    for error in (bulk_error([duplicate, too_deep], []), bulk_error([duplicate], [step_down])):
        with pytest.raises(Unavailable):
            refused_as_duplicates(error)


async def answered(call: Callable[[], Awaitable[T]]) -> T:
    """What the call answers once the client has found its server again."""
    async with asyncio.timeout(30):
        while True:
            try:
                return await call()
            except Unavailable:
                await asyncio.sleep(0)


def bulk_error(
    write_errors: list[dict[str, object]], concern_errors: list[dict[str, object]]
) -> BulkWriteError:
    return BulkWriteError({"writeErrors": write_errors, "writeConcernErrors": concern_errors})

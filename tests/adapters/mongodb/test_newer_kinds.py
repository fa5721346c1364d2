"""Aggregates of a kind that only a newer version knows, in a store that keeps each kind in its own collection."""

from __future__ import annotations

import pytest

from adapters.mongodb.connection import Database
from adapters.mongodb.event_log import MongoEventLog
from adapters.mongodb.projections import MongoProjections
from application.aggregates.catalog import CATALOG
from application.engine.loader import Loader, UnreadablePartition
from domain.definition.definition import WorkflowDefinition
from tests.contracts.samples import commit

pytestmark = pytest.mark.mongo


async def no_definition(_name: str, _version: int) -> WorkflowDefinition | None:
    return None


async def test_their_partition_is_named(database: Database) -> None:
    """It is the one that asks; an aggregate that is not there at all is as absent as any other."""
    log = MongoEventLog(database)
    loader = Loader(log, MongoProjections(database), no_definition, CATALOG)
    await log.append([commit("lock:cart-1", 1, partition=3)])

    with pytest.raises(UnreadablePartition, match=r"lock:cart-1.*upgrade") as unreadable:
        await loader.load({"wf-1": 0, "lock:cart-1": 3})

    assert unreadable.value.partition == 3
    assert await loader.load({"wf-1": 0, "lock:cart-2": 0}) == {}

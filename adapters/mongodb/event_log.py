"""The event log in `workflow_events`: one document per commit, fenced by its `_id`."""

from __future__ import annotations

import asyncio
from collections.abc import Collection, Mapping, Sequence
from typing import Any

from pymongo import ASCENDING
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern

from adapters.mongodb.commit_documents import from_stored, to_stored
from adapters.mongodb.connection import Collection as MongoCollection
from adapters.mongodb.connection import (
    Database,
    durable,
    is_standalone,
    reaching_the_store,
    refused_as_duplicates,
)
from application.ports import Commit, Document, Entry, commit_id
from domain.aggregate.position import Position

#: Large enough that reading a batch is one round trip.
_DOCUMENTS_PER_REPLY = 1000
#: Most chains end after a commit or two. Longer ones belong to instances that were not projected for long.
_STEPS_OF_SHORT_CHAINS = 4


class MongoEventLog:
    """`EventLog` on MongoDB."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._commits = durable(database, "workflow_events")

    async def append(self, commits: Sequence[Commit]) -> Sequence[bool]:
        written = [True] * len(commits)
        if not commits:
            return written
        documents = [to_stored(commit) for commit in commits]
        with reaching_the_store():
            try:
                await self._commits.insert_many(documents, ordered=False)
            except BulkWriteError as error:
                for place in refused_as_duplicates(error):
                    written[place] = False
        return written

    async def read(self, after: Mapping[str, int]) -> Mapping[str, Sequence[Commit]]:
        chains: dict[str, list[Commit]] = {}
        wanted = {workflow: version + 1 for workflow, version in after.items()}
        steps = 0
        while wanted:
            long = steps >= _STEPS_OF_SHORT_CHAINS
            found = await (self._ranges(wanted) if long else self._firsts(wanted))
            wanted = _lengthened(chains, wanted, found)
            steps += 1
        return chains

    async def _firsts(self, wanted: Mapping[str, int]) -> Sequence[Commit]:
        """The commits of these workflows that begin at these versions: one read for all."""
        ids = [commit_id(workflow, version) for workflow, version in wanted.items()]
        return await self._find({"_id": {"$in": ids}})

    async def _ranges(self, wanted: Mapping[str, int]) -> Sequence[Commit]:
        """The next commits of these workflows from these versions on, in order: one read for each."""
        found = await asyncio.gather(
            *(
                self._find(
                    {"workflowId": workflow, "firstVersion": {"$gte": version}},
                    sort=[("firstVersion", ASCENDING)],
                    limit=_DOCUMENTS_PER_REPLY,
                )
                for workflow, version in wanted.items()
            )
        )
        return [commit for commits in found for commit in commits]

    async def since(self, starts: Sequence[Position]) -> Sequence[Commit]:
        found = await asyncio.gather(*(self._find(_caused_since(start)) for start in starts))
        commits = {commit.id: commit for part in found for commit in part}
        return sorted(
            commits.values(), key=lambda commit: (commit.aggregate_id, commit.first_version)
        )

    async def history(self, aggregate_id: str, after_version: int, limit: int) -> Sequence[Commit]:
        return await self._find(
            {"workflowId": aggregate_id, "lastVersion": {"$gt": after_version}},
            sort=[("firstVersion", ASCENDING)],
            limit=limit,
        )

    async def find_messages(
        self, aggregate_id: str, message_ids: Collection[str]
    ) -> Mapping[str, Entry]:
        if not message_ids:
            return {}
        commits = await self._find(
            {"workflowId": aggregate_id, "entries.messageId": {"$in": list(message_ids)}}
        )
        entries = (entry for commit in commits for entry in commit.entries)
        return {entry.message_id: entry for entry in entries if entry.message_id in message_ids}

    async def confirm_absent(self, aggregate_ids: Sequence[str]) -> frozenset[str]:
        commits = await self._with_nothing_missed()
        # One read each: linearizability is promised only for one document found by a unique key.
        exist = await asyncio.gather(*(_exists(commits, workflow) for workflow in aggregate_ids))
        known = {workflow for workflow, exists in zip(aggregate_ids, exist, strict=True) if exists}
        return frozenset(aggregate_ids) - known

    async def _with_nothing_missed(self) -> MongoCollection:
        """The collection for reads that miss no commit: a deposed primary cannot serve a linearizable read.

        A standalone server refuses such reads, but cannot be deposed, so any of its reads misses nothing.
        """
        if await is_standalone(self._database):
            return self._commits
        return self._commits.with_options(read_concern=ReadConcern("linearizable"))

    async def _find(self, condition: Document, **options: Any) -> list[Commit]:
        with reaching_the_store():
            cursor = self._commits.find(condition, batch_size=_DOCUMENTS_PER_REPLY, **options)
            documents = await cursor.to_list()
        return [from_stored(document) for document in documents]


def _lengthened(
    chains: dict[str, list[Commit]], wanted: Mapping[str, int], found: Sequence[Commit]
) -> dict[str, int]:
    """Extend each chain by its next commits. Returns where the extended chains continue."""
    reached: dict[str, int] = {}
    for commit in found:
        aggregate_id = commit.aggregate_id
        if commit.first_version == reached.get(aggregate_id, wanted[aggregate_id]):
            chains.setdefault(aggregate_id, []).append(commit)
            reached[aggregate_id] = commit.last_version + 1
    return reached


async def _exists(commits: MongoCollection, aggregate_id: str) -> bool:
    with reaching_the_store():
        first = await commits.find_one({"_id": commit_id(aggregate_id, 1)}, {"_id": 1})
    return first is not None


def _caused_since(start: Position) -> Document:
    return {
        "entries": {
            "$elemMatch": {
                "cause.topicId": start.topic_id,
                "cause.partition": start.partition,
                "cause.offset": {"$gte": start.offset},
            }
        }
    }

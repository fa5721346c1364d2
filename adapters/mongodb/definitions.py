"""Registered definitions in the collection `workflow_definitions`."""

from __future__ import annotations

from collections.abc import Sequence

from pymongo import ASCENDING, DESCENDING
from pymongo.errors import DuplicateKeyError

from adapters.mongodb.connection import Database, durable, reaching_the_store
from adapters.mongodb.json_in_bson import decode, encode
from application.ports import Document


class MongoDefinitionRepository:
    """`WorkflowDefinitionRepository` on MongoDB; `_id` is `<name>:<version>`."""

    def __init__(self, database: Database) -> None:
        self._definitions = durable(database, "workflow_definitions")

    async def get(self, name: str, version: int) -> Document | None:
        with reaching_the_store():
            stored = await self._definitions.find_one({"_id": _id(name, version)})
        return _registered(stored) if stored is not None else None

    async def latest(self, name: str) -> Document | None:
        with reaching_the_store():
            stored = await self._definitions.find_one(
                {"name": name}, sort=[("version", DESCENDING)]
            )
        return _registered(stored) if stored is not None else None

    async def all(self) -> Sequence[Document]:
        order = [("name", ASCENDING), ("version", ASCENDING)]
        with reaching_the_store():
            stored = await self._definitions.find(sort=order).to_list()
        return [_registered(document) for document in stored]

    async def add(self, document: Document) -> bool:
        stored = encode({"_id": _id(document["name"], document["version"]), **document})
        with reaching_the_store():
            try:
                await self._definitions.insert_one(stored)
            except DuplicateKeyError:
                return False
        return True


def _id(name: str, version: int) -> str:
    return f"{name}:{version}"


def _registered(stored: Document) -> Document:
    del stored["_id"]
    return decode(stored)

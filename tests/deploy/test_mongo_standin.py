"""The MongoDB stand-in answers as MongoDB does, or says that it does not know how (ADR 6)."""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
from pymongo import InsertOne, MongoClient, ReplaceOne, UpdateOne
from pymongo.collection import Collection
from pymongo.errors import BulkWriteError, ConnectionFailure, OperationFailure
from pymongo.monitoring import CommandListener, CommandStartedEvent, CommandSucceededEvent
from pymongo.operations import IndexModel
from pymongo.write_concern import WriteConcern

from deploy.local_services import start_mongo

# The first start on a machine downloads and builds.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]

Documents = MongoClient[dict[str, Any]]
Stored = Collection[dict[str, Any]]

_UNKNOWN = 238
_DUPLICATE_KEY = 11000


class Replies(CommandListener):
    """How many documents each batch had."""

    def __init__(self) -> None:
        self.batches: list[int] = []

    def started(self, event: CommandStartedEvent) -> None: ...

    def failed(self, event: Any) -> None: ...

    def succeeded(self, event: CommandSucceededEvent) -> None:
        cursor = event.reply.get("cursor", {})
        if "firstBatch" in cursor or "nextBatch" in cursor:
            self.batches.append(len(cursor.get("firstBatch", cursor.get("nextBatch"))))


@pytest.fixture(scope="module", params=["memory", "h2"])
def uri(request: pytest.FixtureRequest) -> Iterator[str]:
    with start_mongo(backend=request.param, is_short_lived=True) as server:
        yield server.address


@pytest.fixture
def stored(uri: str) -> Iterator[Stored]:
    with Documents(uri) as client:
        client["t"]["stored"].drop()
        yield client["t"]["stored"]


@pytest.fixture(scope="module")
def large(uri: str) -> Iterator[tuple[Stored, Replies]]:
    replies = Replies()
    with Documents(uri, event_listeners=[replies]) as client:
        large = client["t"]["large"]
        for start in range(0, 1000, 100):
            # Characters of three bytes: a size that counts characters has to leave room.
            text = "€" * 17_000 if start % 200 else "x" * 52_000
            large.insert_many([{"_id": start + n, "text": text} for n in range(100)])
        yield large, replies


class TestBatches:
    """A reply ends at 16 MB, whatever was asked for, and the rest follows."""

    @pytest.mark.parametrize(
        "read",
        [
            lambda large: large.find(batch_size=1000),
            lambda large: large.find(),
            lambda large: large.find().sort("_id"),
            lambda large: large.aggregate([{"$match": {}}]),
            lambda large: large.aggregate([{"$match": {}}], batchSize=1000),
        ],
        ids=["find", "find without a size", "sorted", "aggregate", "aggregate with a size"],
    )
    def test_go_on_where_one_would_be_too_large(
        self, large: tuple[Stored, Replies], read: Callable[[Stored], Any]
    ) -> None:
        """All documents come, over several batches."""
        collection, replies = large
        replies.batches.clear()

        found = [document["_id"] for document in read(collection)]

        assert sorted(found) == list(range(1000))
        assert len(replies.batches) > 2
        assert max(replies.batches) < 500

    @pytest.mark.parametrize(
        "read",
        [
            lambda large: large.find({}, {"_id": 1}, batch_size=300),
            lambda large: large.aggregate([{"$project": {"_id": 1}}], batchSize=300),
        ],
        ids=["find", "aggregate"],
    )
    def test_have_as_many_documents_as_asked_for(
        self, large: tuple[Stored, Replies], read: Callable[[Stored], Any]
    ) -> None:
        """The last one has the rest."""
        collection, replies = large
        replies.batches.clear()

        found = {document["_id"] for document in read(collection)}

        assert found == set(range(1000))
        assert replies.batches == [300, 300, 300, 100]


def test_a_reader_never_sees_half_a_change(uri: str, stored: Stored) -> None:
    """What was found is as it was then, though it changes while the reply is written."""
    last = 60
    stored.insert_many([{"first": 0, "rest": list(range(20)), "last": 0} for _ in range(300)])

    def change() -> None:
        with Documents(uri) as client:
            for version in range(1, last + 1):
                client["t"]["stored"].update_many({}, {"$set": {"first": version, "last": version}})

    writer = threading.Thread(target=change)
    writer.start()
    seen: list[set[int]] = []
    while writer.is_alive():
        found = list(stored.find())
        seen.append({document[name] for document in found for name in ("first", "last")})
    writer.join()

    assert [versions for versions in seen if len(versions) > 1] == []
    assert stored.count_documents({"first": last, "last": last}) == 300


def test_a_server_without_memory_ends(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """It is better gone than answering some requests and not others."""
    monkeypatch.setenv("_JAVA_OPTIONS", "-Xms48m -Xmx48m -Xmn8m")
    with start_mongo(tmp_path) as server:
        with Documents(server.address, serverSelectionTimeoutMS=1000) as client:

            def fill() -> None:
                for _ in range(1000):
                    client["t"]["full"].insert_one({"text": "x" * 1_000_000})

            with pytest.raises(ConnectionFailure):
                fill()

        assert server.process.wait(60) != 0


class TestWrites:
    """What is refused is refused with a code, and what is taken is done."""

    def test_a_unique_index_refuses_arrays(self, stored: Stored) -> None:
        """They would be found under one key and counted under another."""
        stored.create_index("a.b", unique=True)
        stored.insert_one({"_id": 1, "a": {"b": 1}})

        with pytest.raises(OperationFailure) as inserted:
            stored.insert_one({"_id": 2, "a": [{"b": 2}, {"b": 3}]})
        with pytest.raises(OperationFailure) as replaced:
            stored.replace_one({"_id": 1}, {"a": {"b": [1]}})
        with pytest.raises(OperationFailure) as changed:
            stored.update_one({"_id": 1}, {"$set": {"a.b": [1]}})

        assert [error.value.code for error in (inserted, replaced, changed)] == [_UNKNOWN] * 3
        assert list(stored.find()) == [{"_id": 1, "a": {"b": 1}}]

    def test_a_unique_index_is_not_built_over_arrays(self, stored: Stored) -> None:
        """Nor does the attempt leave anything behind."""
        stored.insert_many([{"a": [1, 2]}, {"a": 3}])

        with pytest.raises(OperationFailure):
            stored.create_index("a", unique=True)
        stored.insert_many([{"a": [4]}, {"a": 3}])

        assert stored.count_documents({}) == 4

    def test_an_ordered_bulk_of_updates_ends_at_the_first_error(self, stored: Stored) -> None:
        """What comes before it is done and counted, what comes after it is not."""
        stored.create_index("key", unique=True)
        stored.insert_many([{"_id": n, "key": n} for n in range(4)])

        with pytest.raises(BulkWriteError) as refused:
            stored.bulk_write(
                [
                    UpdateOne({"_id": 0}, {"$set": {"at": 1}}),
                    ReplaceOne({"_id": 9}, {"key": 9}, upsert=True),
                    UpdateOne({"_id": 1}, {"$set": {"key": 2}}),
                    UpdateOne({"_id": 3}, {"$set": {"at": 1}}),
                ]
            )

        details = refused.value.details
        assert [(e["index"], e["code"]) for e in details["writeErrors"]] == [(2, _DUPLICATE_KEY)]
        assert [u["index"] for u in details["upserted"]] == [1]
        assert (details["nMatched"], details["nModified"], details["nUpserted"]) == (1, 1, 1)
        assert [d["_id"] for d in stored.find({"at": 1})] == [0]

    def test_an_unordered_bulk_of_updates_goes_on(self, stored: Stored) -> None:
        """Only what was refused is missing."""
        stored.create_index("key", unique=True)
        stored.insert_many([{"_id": n, "key": n} for n in range(3)])

        with pytest.raises(BulkWriteError) as refused:
            stored.bulk_write(
                [
                    UpdateOne({"_id": 1}, {"$set": {"key": 2}}),
                    UpdateOne({"_id": 0}, {"$set": {"at": 1}}),
                ],
                ordered=False,
            )

        assert [e["index"] for e in refused.value.details["writeErrors"]] == [0]
        assert refused.value.details["nModified"] == 1

    @pytest.mark.parametrize(
        "write",
        [
            lambda stored: stored.insert_one({"a.b": 1}),
            lambda stored: stored.bulk_write([InsertOne({"a": 1}), InsertOne({"a.b": 1})]),
            lambda stored: stored.replace_one({"_id": 1}, {"a.b": 1}),
            lambda stored: stored.replace_one({"_id": 2}, {"a.b": 1}, upsert=True),
            lambda stored: stored.find_one_and_replace({"_id": 1}, {"a.b": 1}),
        ],
        ids=["insert", "bulk", "replace", "upsert", "find and replace"],
    )
    def test_a_dot_in_a_name_is_refused(
        self, stored: Stored, write: Callable[[Stored], Any]
    ) -> None:
        """Such a document could never be changed again."""
        stored.insert_one({"_id": 1})

        with pytest.raises(OperationFailure) as refused:
            write(stored)

        assert refused.value.code == _UNKNOWN
        assert list(stored.find()) == [{"_id": 1}]

    def test_a_deleted_field_may_be_called_query(self, stored: Stored) -> None:
        """It is a condition as any other, not the envelope of one."""
        stored.insert_many([{"_id": 1, "query": {"a": 1}}, {"_id": 2, "a": 1}])

        deleted = stored.delete_many({"query": {"a": 1}}).deleted_count

        assert deleted == 1
        assert list(stored.find()) == [{"_id": 2, "a": 1}]

    def test_a_write_that_waits_for_no_reply_is_done(self, stored: Stored) -> None:
        """The replies that follow on its connection are those of what follows."""
        unacknowledged = stored.with_options(write_concern=WriteConcern(w=0))

        unacknowledged.insert_one({"_id": 1})
        unacknowledged.insert_one({"_id": 1})
        unacknowledged.update_one({"_id": 1}, {"$set": {"a": 1}})

        assert list(stored.find()) == [{"_id": 1, "a": 1}]


class TestIndexes:
    """An index is built as it is described, or not at all."""

    @pytest.mark.parametrize(
        ("index", "code"),
        [
            (IndexModel("b", name="known"), 86),
            (IndexModel([("a", -1)], name="known"), 86),
            (IndexModel("a", name="known", unique=True), 86),
            (IndexModel("a", name="other"), 85),
            (IndexModel([("c", "hashed")]), _UNKNOWN),
            (IndexModel([("c", "text")]), _UNKNOWN),
            (IndexModel("c", expireAfterSeconds=1), _UNKNOWN),
            (IndexModel("c", partialFilterExpression={"c": 1}), _UNKNOWN),
            (IndexModel("c", collation={"locale": "de"}), _UNKNOWN),
        ],
        ids=lambda value: str(value.document) if isinstance(value, IndexModel) else str(value),
    )
    def test_another_one_in_its_place_is_refused(
        self, stored: Stored, index: IndexModel, code: int
    ) -> None:
        """Only the one that was there is there."""
        stored.create_index("a", name="known")

        with pytest.raises(OperationFailure) as refused:
            stored.create_indexes([index])

        assert refused.value.code == code
        assert set(stored.index_information()) == {"_id_", "known"}

    def test_the_same_one_again_is_no_error(self, stored: Stored) -> None:
        """As for `init`, which creates what is missing; the index of ids has a name of its own."""
        for _ in range(2):
            stored.create_index([("a", 1), ("b", -1)], unique=True)
            stored.create_index("_id")

        assert set(stored.index_information()) == {"_id_", "a_1_b_-1"}


class TestQueries:
    """An option that would be ignored is refused, also where there is no document."""

    @pytest.mark.parametrize(
        ("ask", "code"),
        [
            (lambda stored: list(stored.find({}).hint("none_1")), 2),
            (lambda stored: list(stored.find({}).hint([("none", 1)])), 2),
            (lambda stored: list(stored.aggregate([], hint="none_1")), 2),
            (lambda stored: stored.update_one({}, {"$set": {"a": 1}}, hint="none_1"), 2),
            (lambda stored: stored.delete_one({}, hint="none_1"), 2),
            (lambda stored: list(stored.find({}).collation({"locale": "de"})), _UNKNOWN),
            (lambda stored: stored.delete_one({}, collation={"locale": "de"}), _UNKNOWN),
            (lambda stored: stored.update_one({}, [{"$set": {"a": 1}}]), _UNKNOWN),
            (lambda stored: stored.database.create_collection("v", validator={"a": 1}), _UNKNOWN),
            (lambda stored: stored.find_one({"a": {"$near": 1}}), 2),
            (lambda stored: stored.find_one({"$or": [{"a": {"$not": {"$x": 1}}}]}), 2),
            (lambda stored: stored.find_one({"$where": "1"}), 2),
            (lambda stored: stored.count_documents({"a": {"$x": 1}}), 2),
            (lambda stored: stored.delete_many({"a": {"$x": 1}}), 2),
            (lambda stored: stored.update_one({}, {"$x": {"a": 1}}), 9),
        ],
    )
    def test_what_is_not_known_is_refused(
        self, stored: Stored, ask: Callable[[Stored], Any], code: int
    ) -> None:
        """With MongoDB's code where it would refuse as well."""
        stored.create_index("a")

        with pytest.raises(OperationFailure) as refused:
            ask(stored)

        assert refused.value.code == code

    def test_a_hint_of_an_index_is_taken(self, stored: Stored) -> None:
        """By its name, its keys, or as the natural order."""
        stored.create_index([("a", 1), ("b", 1)])
        stored.insert_one({"_id": 1, "a": 1})

        for hint in ("a_1_b_1", [("a", 1), ("b", 1)], "_id_", [("$natural", 1)]):
            assert list(stored.find({"a": 1}).hint(hint)) == [{"_id": 1, "a": 1}]

    @pytest.mark.parametrize(
        "query",
        [
            {"a": {"$regex": "^x", "$options": "i"}},
            {"$expr": {"$eq": ["$a", "X"]}},
            {"a": {"$not": {"$in": ["y"]}}, "$comment": "why"},
            {"$nor": [{"a": {"$exists": False}}]},
            {"b": {"$elemMatch": {"$gt": 1}}},
        ],
        ids=str,
    )
    def test_what_is_known_finds(self, stored: Stored, query: dict[str, Any]) -> None:
        """Operators of all levels."""
        stored.insert_one({"_id": 1, "a": "X", "b": [2]})

        assert stored.count_documents(query) == 1
        assert [document["_id"] for document in stored.find(query)] == [1]

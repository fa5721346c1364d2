"""The servers of `deploy.local_services`: they answer real clients, and are gone after stop."""

import os
import shutil
import signal
import socket
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka import Consumer, Producer
from confluent_kafka.admin import AdminClient
from confluent_kafka.cimpl import NewTopic
from pymongo import MongoClient, ReplaceOne
from pymongo.errors import BulkWriteError
from pymongo.read_concern import ReadConcern
from pymongo.write_concern import WriteConcern
from redis import Redis

from deploy.local_services import (
    LocalService,
    ServiceError,
    start_kafka,
    start_mongo,
    start_redis,
)
from deploy.local_services.containers import docker_answers, docker_has_images
from deploy.local_services.process import accepts_connections, free_port, start_process

# The first start on a machine downloads and builds.
pytestmark = [pytest.mark.slow, pytest.mark.timeout(600)]


def port_of(service: LocalService) -> int:
    return int(service.address.rpartition(":")[2])


class TestKafka:
    @pytest.mark.kafka
    def test_delivers_what_was_produced(self, kafka_bootstrap: str) -> None:
        """A record that was produced is consumed."""
        admin = AdminClient({"bootstrap.servers": kafka_bootstrap})
        admin.create_topics([NewTopic("services-test", 1, 1)])["services-test"].result(30)
        producer = Producer({"bootstrap.servers": kafka_bootstrap})
        producer.produce("services-test", b"value", b"key")
        assert producer.flush(30) == 0
        consumer = Consumer(
            {
                "bootstrap.servers": kafka_bootstrap,
                "group.id": "services-test",
                "auto.offset.reset": "earliest",
            }
        )
        consumer.subscribe(["services-test"])

        record = consumer.poll(30)
        consumer.close()

        assert record is not None
        assert (record.key(), record.value()) == (b"key", b"value")

    def test_keeps_its_records_over_a_restart(self, tmp_path: Path) -> None:
        """A broker that is started again in its folder still has its topics."""
        with start_kafka(tmp_path) as broker:
            admin = AdminClient({"bootstrap.servers": broker.address})
            admin.create_topics([NewTopic("kept", 3, 1)])["kept"].result(30)

        with start_kafka(tmp_path) as broker:
            topics = AdminClient({"bootstrap.servers": broker.address}).list_topics(timeout=30)

        assert len(topics.topics["kept"].partitions) == 3


Documents = MongoClient[dict[str, Any]]


class TestMongo:
    @pytest.mark.mongo
    def test_answers_under_the_concerns_that_conveyor_uses(self, mongo_uri: str) -> None:
        """Majority writes and linearizable reads are served."""
        with Documents(mongo_uri) as client:
            collection = client["services_test"].get_collection(
                "concerns",
                write_concern=WriteConcern(w="majority", j=True),
                read_concern=ReadConcern("linearizable"),
            )
            collection.replace_one({"_id": 1}, {"_id": 1, "a": 2}, upsert=True)

            assert collection.find_one({"_id": 1}) == {"_id": 1, "a": 2}

    @pytest.mark.mongo
    def test_a_second_writer_of_an_id_is_refused(self, mongo_uri: str) -> None:
        """The fence of the event log: code 11000, the refused one's index, the true count."""
        with Documents(mongo_uri) as client:
            commits = client["services_test"]["commits"]
            commits.drop()
            commits.insert_one({"_id": "w:000001"})

            with pytest.raises(BulkWriteError) as refused:
                commits.insert_many([{"_id": "w:000001"}, {"_id": "w:000002"}], ordered=False)

        details = refused.value.details
        assert [(e["index"], e["code"]) for e in details["writeErrors"]] == [(0, 11000)]
        assert details["nInserted"] == 1


@pytest.fixture(scope="module", params=["memory", "h2"])
def standin(request: pytest.FixtureRequest) -> Any:
    with start_mongo(backend=request.param) as server, Documents(server.address) as client:
        yield client


class TestStandinIndexes:
    """Whatever index serves a query, the answer is the one of a full scan."""

    @pytest.fixture
    def collections(self, standin: Documents) -> Any:
        indexed, plain = standin["t"]["indexed"], standin["t"]["plain"]
        for collection in (indexed, plain):
            collection.drop()
        indexed.create_index([("queue", 1), ("status", 1), ("priority", -1), ("due", 1)])
        indexed.create_index([("due", 1)])
        indexed.create_index([("tags", 1)])
        indexed.create_index([("entries.cause.topic", 1), ("entries.cause.offset", 1)])
        documents = [
            {
                "_id": f"d{number:03d}",
                "version": number % 7,
                "queue": "ab"[number % 2],
                "status": ["NEW", "OPEN", "DONE"][number % 3],
                "priority": number % 4,
                "due": None if number % 5 == 0 else number * 37 % 101,
                "tags": [[], ["x"], ["x", "y"], ["y", "z"]][number % 4],
                "entries": [
                    {"cause": {"topic": "ab"[offset % 2], "offset": offset}, "n": offset % 3}
                    for offset in range(number % 10, number % 10 + number % 3)
                ],
            }
            for number in range(300)
        ]
        for collection in (indexed, plain):
            collection.insert_many(documents)
            collection.delete_many({"_id": {"$gt": "d250"}})
            collection.update_many({"priority": 3}, {"$set": {"status": "DONE"}})
        return indexed, plain

    @pytest.mark.parametrize(
        "query",
        [
            {"_id": "d007"},
            {"_id": "d007", "version": {"$lt": 3}},
            {"_id": {"$in": ["d001", "d002", "none"]}, "queue": "a"},
            {"_id": {"$gte": "d010", "$lt": "d020"}},
            {"_id": {"$in": []}},
            {"queue": "a", "status": {"$in": ["NEW", "DONE"]}},
            {"queue": "b", "status": "NEW", "priority": {"$gt": 0, "$lte": 2}},
            {"queue": "b", "status": "NEW", "priority": 1, "due": {"$lt": 50}},
            {"due": {"$lte": 10}},
            {"due": {"$gt": 90}},
            {"due": None},
            {"due": {"$ne": 5}},
            {"tags": "x"},
            {"tags": {"$in": ["x", "y"]}},
            {"tags": {"$gte": "y", "$lt": "z"}},
            {"tags": {"$gt": "x", "$lt": "y"}},
            {"tags": []},
            {"entries": {"$elemMatch": {"cause.topic": "a", "cause.offset": {"$gte": 7}}}},
            {"entries": {"$elemMatch": {"cause.topic": "a", "n": 1, "cause.offset": {"$lt": 5}}}},
            {"entries": {"$elemMatch": {"cause.topic": {"$ne": "a"}, "none": None}}},
            {"tags": {"$elemMatch": {"$gt": "x", "$lt": "z"}}},
            {"$and": [{"queue": "a"}, {"status": "OPEN"}]},
            {"$or": [{"due": 3}, {"queue": "b"}]},
            {},
        ],
        ids=str,
    )
    def test_finds_what_a_scan_finds(self, collections: Any, query: dict[str, Any]) -> None:
        """The same documents come back, sorted by id or in the order of an index."""
        indexed, plain = collections

        for order in ([("_id", 1)], [("_id", -1)], [("due", 1), ("_id", 1)]):
            found = list(indexed.find(query).sort(order))

            assert found == list(plain.find(query).sort(order))
        assert indexed.count_documents(query) == plain.count_documents(query)

    @pytest.mark.parametrize("direction", [1, -1])
    def test_the_order_of_an_index_is_the_order_asked_for(
        self, collections: Any, direction: int
    ) -> None:
        """A page in index order has the same sort keys as a sorted scan."""
        order = [("priority", -direction), ("due", direction)]
        keys = [
            [
                (document["priority"], document["due"])
                for document in collection.find({"queue": "a", "status": "DONE"})
                .sort(order)
                .skip(3)
                .limit(20)
            ]
            for collection in collections
        ]

        assert keys[0] == keys[1]
        assert len(keys[0]) == 20

    def test_a_replaced_document_is_found_by_what_it_holds_now(self, standin: Documents) -> None:
        """Keys of fields within arrays follow a replacement; the same document again changes nothing."""
        nested = standin["t"]["nested"]
        nested.drop()
        nested.create_index([("entries.cause.offset", 1), ("kind", 1)])
        nested.insert_one(
            {
                "_id": 1,
                "rest": {"deep": [1, {"x": None}]},
                "entries": [{"cause": {"offset": 3, "topic": "t"}}, {"cause": {"offset": 4}}, 5],
                "kind": "k",
            }
        )
        replacement = {"_id": 1, "rest": "r", "kind": "k", "entries": [{"cause": {"offset": 4}}]}

        changes = [nested.replace_one({"_id": 1}, replacement).modified_count for _ in range(2)]

        assert changes == [1, 0]
        assert list(nested.find({"entries.cause.offset": 3})) == []
        assert list(nested.find({"entries.cause.offset": {"$gt": 3}})) == [replacement]
        assert list(nested.find({"kind": "k"}, {"rest": 1})) == [{"_id": 1, "rest": "r"}]

    def test_a_newer_version_is_not_replaced(self, collections: Any) -> None:
        """The projection's write: only an older document gives way."""
        indexed, _ = collections
        indexed.replace_one({"_id": "d001"}, {"_id": "d001", "version": 5})

        done = indexed.bulk_write(
            [
                ReplaceOne({"_id": "d001", "version": {"$lt": 5}}, {"version": 9}),
                ReplaceOne({"_id": "d001", "version": {"$lt": 6}}, {"version": 6}),
            ]
        )

        assert (done.matched_count, done.modified_count) == (1, 1)
        assert indexed.find_one({"_id": "d001"}) == {"_id": "d001", "version": 6}

    def test_a_file_keeps_documents_and_indexes(self, tmp_path: Path) -> None:
        """With the h2 backend a restart in the same folder finds everything, by index too."""
        with start_mongo(tmp_path, backend="h2") as server, Documents(server.address) as client:
            client["t"]["kept"].create_index([("a", 1), ("b", 1)])
            client["t"]["kept"].insert_many([{"_id": n, "a": n % 3, "b": n} for n in range(9)])

        with start_mongo(tmp_path, backend="h2") as server, Documents(server.address) as client:
            kept = client["t"]["kept"]
            assert [d["_id"] for d in kept.find({"a": 1, "b": {"$gt": 1}}).sort("b")] == [4, 7]
            assert set(kept.index_information()) == {"_id_", "a_1_b_1"}


@pytest.mark.redis
def test_redis_answers(redis_url: str) -> None:
    """A value that was set is read."""
    with Redis.from_url(redis_url) as client:
        client.set("services-test", "value", ex=60)

        assert client.get("services-test") == b"value"


@pytest.mark.parametrize("start", [start_kafka, start_mongo, start_redis])
def test_is_gone_after_stop(start: Callable[[], LocalService]) -> None:
    """Neither process nor port nor state outlives the `with` block."""
    with start() as service:
        assert accepts_connections(port_of(service))

    assert service.process.poll() is not None
    assert not accepts_connections(port_of(service))
    assert not service.folder.exists()


def test_a_server_dies_with_the_process_that_started_it(tmp_path: Path) -> None:
    """A killed parent leaves no server behind."""
    code = (
        "import time; from pathlib import Path; from deploy.local_services import start_redis;"
        f"print(start_redis(Path({str(tmp_path)!r})).address, flush=True); time.sleep(60)"
    )
    with subprocess.Popen(
        [sys.executable, "-c", code], stdout=subprocess.PIPE, text=True
    ) as parent:
        assert parent.stdout is not None
        port = int(parent.stdout.readline().rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port), timeout=30) as connection:
            parent.kill()

            assert connection.recv(1) == b"", "the server closes the connection when it ends"


def test_a_server_that_ends_at_once_shows_its_log(tmp_path: Path) -> None:
    """The error carries the exit code and the end of the log."""
    with pytest.raises(ServiceError, match=r"(?s)broken ended with 3:.*no such luck"):
        start_process(
            "broken",
            ["sh", "-c", "echo no such luck; exit 3"],
            address="",
            folder=tmp_path,
            removes_folder=False,
            answers=lambda: False,
            deadline_seconds=10,
        )


def test_a_server_that_never_answers_is_given_up(tmp_path: Path) -> None:
    """The wait ends at its deadline, and so does the server."""
    with pytest.raises(ServiceError, match=r"silent does not answer after 0\.2 s"):
        start_process(
            "silent",
            ["sleep", "60"],
            address="",
            folder=tmp_path,
            removes_folder=False,
            answers=lambda: False,
            deadline_seconds=0.2,
        )


def test_a_taken_port_gives_way_to_a_free_one() -> None:
    """The preferred port is used only where nothing listens."""
    with start_redis() as service:
        taken = port_of(service)

        assert free_port(taken) != taken
    assert free_port(taken) == taken


def test_a_docker_engine_without_the_images_is_not_used_by_tests(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """It answers, but what it would have to pull first may be out of reach."""
    # `test info` succeeds and `test image inspect ...` fails; a script may not be run from every folder.
    (tmp_path / "docker").symlink_to(str(shutil.which("test")))
    monkeypatch.setenv("PATH", str(tmp_path), prepend=os.pathsep)

    assert docker_answers()
    assert not docker_has_images()


def test_make_services_prints_settings_only_and_stops_on_a_signal() -> None:
    """Stdout holds exactly the export lines and the ready mark; SIGTERM ends all three."""
    with subprocess.Popen(
        [sys.executable, "-m", "deploy.local_services"], stdout=subprocess.PIPE, text=True
    ) as process:
        assert process.stdout is not None
        lines = [process.stdout.readline().rstrip("\n") for _ in range(5)]
        process.send_signal(signal.SIGTERM)
        rest, _ = process.communicate(timeout=60)

    names = [line.partition("=")[0] for line in lines]
    assert names == [
        "export CONVEYOR_KAFKA__BOOTSTRAP_SERVERS",
        "export CONVEYOR_MONGODB__URI",
        "export CONVEYOR_MONGODB__DATABASE",
        "export CONVEYOR_REDIS__URL",
        "# ready",
    ]
    assert rest == ""
    assert process.returncode == 0
    for line in (lines[0], lines[1], lines[3]):
        assert not accepts_connections(int(line.rpartition(":")[2]))

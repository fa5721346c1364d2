"""`conveyor bench` in both modes: what it reports, and that it leaves nothing behind."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient
from redis import Redis

from bench.recipes.gauges import Gauge, listening_pid
from bench.recipes.load import Ending, Load, Opening, Phase, ending
from tests.waiting import end_of, wait_until

CONVEYOR = Path(sys.executable).with_name("conveyor")
WORKFLOWS = 20
DEADLINE_SECONDS = 90.0

FIELDS = {
    "mode": str,
    "workflows": int,
    "inFlight": int,
    "steps": int,
    "compensateShare": float,
    "sagasPerSecond": float,
    "p50Ms": float,
    "p99Ms": float,
    "completed": int,
    "compensated": int,
    "failed": int,
    "wallSeconds": float,
    "cpuSeconds": float,
    "cpuMsPerSaga": float,
    "rssMiB": float,
    "rssMiBAt": list,
    "processes": list,
}


def environment(**variables: str) -> dict[str, str]:
    return {**os.environ, **variables}


def bench(*arguments: str, env: Mapping[str, str]) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [CONVEYOR, "bench", *arguments],
        env=env,
        capture_output=True,
        text=True,
        timeout=DEADLINE_SECONDS,
        check=False,
    )


def report(done: subprocess.CompletedProcess[str]) -> dict[str, Any]:
    """The one JSON document on stdout, with the fields of the contract."""
    assert done.returncode == 0, done.stderr
    document: dict[str, Any] = json.loads(done.stdout)
    assert {name: type(document[name]) for name in FIELDS} == FIELDS
    assert document["workflows"] == WORKFLOWS
    assert document["p50Ms"] <= document["p99Ms"]
    assert document["cpuSeconds"] == pytest.approx(
        sum(each["cpuSeconds"] for each in document["processes"]), abs=0.1
    )
    return document


class Servers:
    """Real servers, and what a bench may have left on them."""

    def __init__(self, kafka: str, mongo: str, redis: str) -> None:
        self.env = environment(
            CONVEYOR_KAFKA__BOOTSTRAP_SERVERS=kafka,
            CONVEYOR_MONGODB__URI=mongo,
            CONVEYOR_REDIS__URL=redis,
        )
        self._admin = AdminClient({"bootstrap.servers": kafka})
        self._mongo = mongo
        self._redis = redis
        self._before = self._all()

    def new(self) -> set[str]:
        """What is there and was not before the test."""
        return self._all() - self._before

    def _all(self) -> set[str]:
        groups = self._admin.list_consumer_groups().result().valid
        with MongoClient(self._mongo) as mongo, Redis.from_url(self._redis) as redis:
            return {
                # The broker's own topics begin with two underscores.
                *(name for name in self._admin.list_topics(timeout=30).topics if name[:2] != "__"),
                *(f"group {group.group_id}" for group in groups),
                *(f"database {name}" for name in mongo.list_database_names()),
                *map(str, redis.scan_iter("workflow:*:b????????-*")),
            }


@pytest.fixture
def servers(kafka_bootstrap: str, mongo_uri: str, redis_url: str) -> Servers:
    return Servers(kafka_bootstrap, mongo_uri, redis_url)


@pytest.mark.timeout(120)
def test_embedded(tmp_path: Path) -> None:
    """The embedded mode is measured in one process on a file that is gone in the end."""
    done = bench(
        *["--mode", "embedded", "--workflows", str(WORKFLOWS), "--in-flight", "10"],
        *["--compensate-share", "0.1", "--rss-at", "10,20", "--flushes"],
        env=environment(TMPDIR=str(tmp_path)),
    )

    document = report(done)
    assert (document["completed"], document["compensated"], document["failed"]) == (18, 2, 0)
    assert [each["name"] for each in document["processes"]] == ["engine"]
    assert [ended for ended, _ in document["rssMiBAt"]] == [10, 20]
    flushes = document["flushesPerSaga"]
    assert flushes > 0 if flushes is not None else "flushes are not counted" in done.stderr
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
@pytest.mark.timeout(180)
def test_kafka(servers: Servers) -> None:
    """The Kafka mode is measured with processes of its own, and the servers are left as they were."""
    done = bench(
        *["--mode", "kafka", "--workflows", str(WORKFLOWS), "--in-flight", "10"],
        *["--compensate-share", "0.1", "--rss-at", "20"],
        env=servers.env,
    )

    document = report(done)
    assert (document["completed"], document["compensated"], document["failed"]) == (18, 2, 0)
    assert [each["name"] for each in document["processes"]][:2] == ["engine", "participant"]
    assert document["rssMiBAt"][0][0] == 20
    assert document["flushesPerSaga"] is None
    assert servers.new() == set()


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
@pytest.mark.timeout(180)
def test_interrupted(servers: Servers) -> None:
    """Ctrl-C in the midst of a run leaves nothing behind either."""
    command = [CONVEYOR, "bench", "--mode", "kafka", "--workflows", "1000000"]
    with running(command, servers.env) as process:
        wait_until("the run has begun", servers.new, DEADLINE_SECONDS, lambda: end_of(process))

        process.send_signal(signal.SIGINT)

        assert process.wait(DEADLINE_SECONDS) == 130
    assert servers.new() == set()


@contextmanager
def running(command: list[Any], env: Mapping[str, str]) -> Iterator[subprocess.Popen[bytes]]:
    with subprocess.Popen(command, env=env, stdout=subprocess.DEVNULL) as process:
        try:
            yield process
        finally:
            process.kill()


def test_a_worker_over_http(tmp_path: Path) -> None:
    """The participant is a process of its own, and is gone in the end."""
    done = bench(
        *["--recipe", "workers", "--workflows", str(WORKFLOWS), "--in-flight", "10"],
        env=environment(TMPDIR=str(tmp_path)),
    )

    document = report(done)
    assert (document["completed"], document["failed"]) == (WORKFLOWS, 0)
    assert [each["name"] for each in document["processes"]] == ["engine", "worker"]
    assert list(tmp_path.iterdir()) == []


def test_embedded_ceiling(tmp_path: Path) -> None:
    """Without an engine the same workflows end, from messages and rows that lay ready."""
    done = bench(
        *["--recipe", "ceiling", "--workflows", str(WORKFLOWS), "--in-flight", "10"],
        env=environment(TMPDIR=str(tmp_path)),
    )

    document = report(done)
    assert (document["completed"], document["failed"]) == (WORKFLOWS, 0)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
@pytest.mark.timeout(180)
def test_kafka_ceiling(servers: Servers) -> None:
    """The Kafka mode has a ceiling too, from processes that stand for engine and participant."""
    done = bench(
        *["--mode", "kafka", "--recipe", "ceiling"],
        *["--workflows", str(WORKFLOWS), "--in-flight", "10"],
        env=servers.env,
    )

    document = report(done)
    assert (document["completed"], document["failed"]) == (WORKFLOWS, 0)
    assert [each["name"] for each in document["processes"]][:2] == ["engine", "participant"]
    assert servers.new() == set()


def test_options_without_use_are_refused() -> None:
    """What a recipe cannot heed is a wrong use: a ceiling's workflows all complete."""
    done = bench("--recipe", "ceiling", "--compensate-share", "0.5", env=environment())

    assert (done.returncode, done.stdout) == (2, "")
    assert "--compensate-share" in done.stderr


GROWTH = {"stored", "sagasPerSecond", "p50AloneMs", "rssMiB", "storedMiB"}
RECOVERY = {
    "mode",
    "openInstances",
    "rssMiBBefore",
    "rssMiBOpen",
    "secondsToFirstDecision",
    "secondsToAllCompleted",
}


@pytest.mark.slow
@pytest.mark.timeout(180)
def test_embedded_growth(tmp_path: Path) -> None:
    """At each size there are figures, and the file has grown."""
    done = bench(
        "--recipe", "growth", "--sizes", "2300,4500", env=environment(TMPDIR=str(tmp_path))
    )

    assert done.returncode == 0, done.stderr
    sizes = json.loads(done.stdout)["growth"]
    assert [each.keys() for each in sizes] == [GROWTH, GROWTH]
    assert [each["stored"] for each in sizes] == [2300, 4500]
    assert 0 < sizes[0]["storedMiB"] < sizes[1]["storedMiB"]
    assert list(tmp_path.iterdir()) == []


@pytest.mark.timeout(120)
def test_embedded_recovery(tmp_path: Path) -> None:
    """A killed engine's workflows complete in the next one, and the memory of open ones is told."""
    done = bench(
        *["--recipe", "recovery", "--workflows", str(WORKFLOWS)],
        env=environment(TMPDIR=str(tmp_path)),
    )

    check_recovery(done)
    assert list(tmp_path.iterdir()) == []


@pytest.mark.kafka
@pytest.mark.mongo
@pytest.mark.redis
@pytest.mark.timeout(180)
def test_kafka_recovery(servers: Servers) -> None:
    """The same on Kafka, where the group has to give the partitions to the new engine."""
    done = bench(
        *["--mode", "kafka", "--recipe", "recovery", "--workflows", str(WORKFLOWS)],
        env={**servers.env, "CONVEYOR_INSTANCE_ID": "bench"},
    )

    check_recovery(done)
    assert servers.new() == set()


def check_recovery(done: subprocess.CompletedProcess[str]) -> None:
    assert done.returncode == 0, done.stderr
    document = json.loads(done.stdout)
    assert document.keys() == RECOVERY
    assert document["openInstances"] == WORKFLOWS
    assert 0 < document["secondsToFirstDecision"] < document["secondsToAllCompleted"]


def test_servers_away() -> None:
    """Where a server does not answer nothing is begun, and the sentence says what to do."""
    nowhere = "127.0.0.1:1"
    done = bench(
        *["--mode", "kafka"],
        env=environment(
            CONVEYOR_KAFKA__BOOTSTRAP_SERVERS=nowhere,
            CONVEYOR_MONGODB__URI=f"mongodb://{nowhere}",
            CONVEYOR_REDIS__URL=f"redis://{nowhere}",
        ),
    )

    assert (done.returncode, done.stdout) == (3, "")
    assert all(name in done.stderr for name in ("Kafka", "MongoDB", "Redis", "make services"))


def test_memory_is_noted_at_numbers_that_come() -> None:
    """A number of workflows beyond those of the run is a wrong use."""
    done = bench("--workflows", "10", "--rss-at", "20", env=environment())

    assert done.returncode == 2
    assert "raise --workflows" in done.stderr


def test_a_phase_keeps_its_number_in_flight() -> None:
    """As many workflows are under way as asked for, and the share to be undone is spread evenly."""
    phase = Phase("w", Load(workflows=10, in_flight=4, compensate_share=0.2))
    ended: list[bool] = []

    while not phase.is_over:
        starts = list(phase.due())
        assert len(starts) == min(4, 10 - phase.ended)
        for start in starts:
            fails = "simulate" in json.loads(start.data)["input"]
            ended.append(fails)
            phase.end(start.workflow_id, Ending.COMPENSATED if fails else Ending.COMPLETED, 0.0)

    assert ended == [False, False, False, False, True] * 2
    assert phase.wrong == 0


def test_an_opening_leaves_its_workflows_open() -> None:
    """A start ends a workflow of an opening only; all of them are open in the phase after it."""
    opening = Opening("w", Load(workflows=3, in_flight=3))
    ids = [start.workflow_id for start in opening.due()]
    for workflow_id in ids:
        opening.end(workflow_id, opening.ending("orchestration.workflow.started", b"{}"), 0.0)

    left = opening.left_open()

    assert opening.is_over
    assert list(left.due()) == []
    for workflow_id in ids:
        left.end(workflow_id, Ending.COMPLETED, 0.0)
    assert (left.is_over, left.wrong) == (True, 0)


def test_a_wrong_end_is_told() -> None:
    """A workflow that was to complete and was undone counts as wrong."""
    phase = Phase("w", Load(workflows=1, in_flight=1))
    (start,) = phase.due()

    phase.end(start.workflow_id, Ending.COMPENSATED, 0.0)

    assert (phase.wrong, phase.is_over) == (1, True)


def test_a_failure_that_is_undone_is_no_end() -> None:
    """A failure that begins the compensation does not count as the end."""
    failed = "orchestration.workflow.failed"

    assert ending(failed, b'{"willCompensate": true}') is None
    assert ending(failed, b'{"willCompensate": false}') is Ending.FAILED
    undone = "orchestration.workflow.compensation.completed"
    assert ending(undone, b'{"success": true}') is Ending.COMPENSATED
    assert ending(undone, b'{"success": false}') is Ending.FAILED


def test_a_server_is_found_by_its_port() -> None:
    """The process that listens on a port of this machine is found, and its gauges answer."""
    with socket.create_server(("127.0.0.1", 0)) as server:
        pid = listening_pid("127.0.0.1", server.getsockname()[1])

    assert pid == os.getpid()
    gauge = Gauge("test", os.getpid())
    assert gauge.cpu_seconds() > 0
    assert gauge.rss_mib() > 1
    assert listening_pid("192.0.2.1", 9092) is None

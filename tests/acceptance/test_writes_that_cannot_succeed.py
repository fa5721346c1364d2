"""Production mode: a write that can never succeed is not taken for an outage."""

from __future__ import annotations

import json
from collections.abc import Iterator
from contextlib import closing
from pathlib import Path

import httpx
import pytest
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient

from tests.acceptance.courses import Courses, Record
from tests.acceptance.programs import run, until
from tests.acceptance.sites import (
    COMMANDS,
    DEAD_LETTERS,
    EVENTS,
    START,
    Site,
    initialised,
    new_id,
)

pytestmark = [pytest.mark.e2e, pytest.mark.kafka, pytest.mark.mongo, pytest.mark.redis]
pytestmark += [pytest.mark.timeout(240)]

KIB = 1024
REQUESTS = "orchestration.step.requests.lonely-service"
LONELY = {
    "name": "lonely",
    "version": 1,
    "type": "LONELY",
    "steps": [{"id": "ask", "service": "lonely-service", "operation": "do", "kind": "read-only"}],
}


@pytest.fixture
def site(kafka_bootstrap: str, mongo_uri: str, redis_url: str, tmp_path: Path) -> Iterator[Site]:
    with initialised(kafka_bootstrap, mongo_uri, redis_url, tmp_path) as site:
        yield site


def completes(site: Site, courses: Courses) -> None:
    """Orders of every partition do."""
    ids = [new_id("order") for _ in range(12)]
    for each in ids:
        site.start(each)
    site.flush()
    courses.until_ended(ids, 60)
    assert {courses.end_of(each) for each in ids} == {"completed"}


def test_a_record_that_no_dead_letter_can_hold(site: Site) -> None:
    """Compressed it is small enough for the inbox; what is kept of it are its beginning and the reason."""
    value = b'{"x":"' + b"x" * 6_000_000 + b'"}'
    with (
        site.warehouse(),
        closing(site.reader(EVENTS)) as events,
        closing(site.reader(DEAD_LETTERS)) as letters,
    ):
        courses = Courses(events)
        with site.serving() as (engine, _):
            write_compressed(site, value)
            letter = until("the dead letter", lambda: first(letters.poll()), 60, [engine])
            completes(site, courses)
            assert engine.stop() == 0

        assert letter.headers["dlq-reason"] == "TOO_LARGE"
        assert str(KIB) in letter.headers["dlq-detail"].replace(",", "")
        assert letter.value == value[:KIB]
        assert letter.headers["ce_type"] == START

        # It was done with: the next process does not meet it again.
        with site.serving("again") as (engine, _):
            completes(site, courses)
            assert letters.poll() == []
            assert courses.gaps == []


def test_a_request_topic_that_was_deleted(site: Site) -> None:
    """It is created again and gets its requests; the other services are not concerned."""
    with (
        site.warehouse(),
        site.serving() as (engine, url),
        closing(site.reader(EVENTS)) as events,
    ):
        courses = Courses(events)
        registered = httpx.post(f"{url}/api/v1/definitions", json=LONELY, timeout=30)
        assert registered.status_code == 201
        delete(site, REQUESTS)
        lonely = new_id("lonely")
        site.command(lonely, START, {"definition": "lonely"})
        site.flush()

        completes(site, courses)
        until("the topic is there again", lambda: exists(site, REQUESTS), 60, [engine])
        with closing(site.reader(REQUESTS)) as requests:
            request = until("the request", lambda: first(requests.poll()), 60, [engine])

        assert request.key == lonely
        until("nothing is held", lambda: health(url) == "UP", 60, [engine])


def test_init_creates_the_topics_of_every_definition(site: Site) -> None:
    """Also of those that were registered since."""
    with site.serving() as (_, url):
        assert httpx.post(f"{url}/api/v1/definitions", json=LONELY, timeout=30).is_success
    delete(site, REQUESTS)

    done = run("init", "--partitions", "4", folder=site.folder, settings=site.settings)

    assert done.returncode == 0, done.stderr
    assert exists(site, REQUESTS)


def test_init_does_not_take_the_database_of_other_topics(site: Site) -> None:
    """Nothing is changed, and the engines of the topics go on."""
    other = f"other-{site.prefix}"
    settings = {**site.settings, "CONVEYOR_KAFKA__TOPIC_PREFIX": other}
    before = site.database["inbox_positions"].find_one({"_id": "layout"})
    assert before

    done = run("init", "--partitions", "4", folder=site.folder, settings=settings)

    assert done.returncode == 2, done.stderr
    assert f"{site.prefix}{COMMANDS}" in done.stderr
    assert "CONVEYOR_KAFKA__TOPIC_PREFIX" in done.stderr
    assert site.database["inbox_positions"].find_one({"_id": "layout"}) == before
    admin = AdminClient({"bootstrap.servers": site.kafka, "log_level": 0})
    assert not [name for name in admin.list_topics(timeout=30).topics if name.startswith(other)]


def write_compressed(site: Site, value: bytes) -> None:
    producer = Producer(
        {
            "bootstrap.servers": site.kafka,
            "partitioner": "murmur2_random",
            "message.max.bytes": 10**9,
            "compression.type": "gzip",
        }
    )
    headers = {"ce_specversion": "1.0", "ce_id": "huge", "ce_source": "/t", "ce_type": START}
    producer.produce(site.prefix + COMMANDS, value, "k", headers=dict(headers))
    assert producer.flush(30) == 0


def delete(site: Site, topic: str) -> None:
    """And wait until no broker knows it."""
    admin = AdminClient({"bootstrap.servers": site.kafka, "log_level": 0})
    for deleted in admin.delete_topics([site.prefix + topic]).values():
        deleted.result(30)
    until(f"{topic} is gone", lambda: not exists(site, topic))


def exists(site: Site, topic: str) -> bool:
    admin = AdminClient({"bootstrap.servers": site.kafka, "log_level": 0})
    return site.prefix + topic in admin.list_topics(timeout=30).topics


def first(records: list[Record]) -> Record | None:
    return records[0] if records else None


def health(url: str) -> str:
    return json.loads(httpx.get(f"{url}/health/workflow", timeout=30).text)["status"]

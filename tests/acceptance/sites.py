"""A production site: topics, database, Redis keys and processes of a test's own on real servers."""

from __future__ import annotations

import itertools
import json
import uuid
from collections import Counter
from collections.abc import Generator, Mapping
from contextlib import ExitStack, closing, contextmanager
from pathlib import Path
from typing import Any

import httpx
from confluent_kafka import Producer
from confluent_kafka.admin import AdminClient
from pymongo import MongoClient
from redis import Redis

from deploy.local_services.process import free_port
from tests.acceptance.courses import Courses, TopicReader
from tests.acceptance.programs import Program, is_ready, run, running, until

COMMANDS = "orchestration.workflow.commands"
EVENTS = "orchestration.workflow.events"
REPLIES = "orchestration.step.replies"
DEAD_LETTERS = "orchestration.dead-letter"
START = "orchestration.workflow.start"

PARTITIONS = 4

#: Redis has no prefixes: each site takes a database of its own.
_REDIS_DATABASES = itertools.cycle(range(15, 7, -1))

Simulation = Mapping[str, Any]


def order(order_id: str, simulate: Simulation | None = None) -> dict[str, Any]:
    """Input of one order."""
    document: dict[str, Any] = {"orderId": order_id, "lines": [{"sku": "LAMP-01", "quantity": 2}]}
    return document if simulate is None else {**document, "simulate": simulate}


def start_data(order_id: str, simulate: Simulation | None = None) -> dict[str, Any]:
    """Data of the command that starts one order."""
    return {"definition": "order-fulfillment", "input": order(order_id, simulate)}


def new_id(name: str) -> str:
    return f"{name}-{uuid.uuid4().hex[:8]}"


class Site:
    """Where one set of processes works."""

    def __init__(self, kafka: str, mongo: str, redis_url: str, folder: Path) -> None:
        name = f"site-{uuid.uuid4().hex[:8]}"
        redis_database = next(_REDIS_DATABASES)
        self.folder = folder
        self.kafka = kafka
        self.prefix = f"{name}."
        self.journal_file = folder / "journal.jsonl"
        self.settings = {
            "CONVEYOR_KAFKA__BOOTSTRAP_SERVERS": kafka,
            "CONVEYOR_KAFKA__TOPIC_PREFIX": self.prefix,
            "CONVEYOR_KAFKA__SESSION_TIMEOUT_MS": "6000",
            "CONVEYOR_MONGODB__URI": mongo,
            "CONVEYOR_MONGODB__DATABASE": name,
            "CONVEYOR_REDIS__URL": redis_url,
            "CONVEYOR_REDIS__DATABASE": str(redis_database),
        }
        self._mongo = MongoClient[dict[str, Any]](mongo)
        self.database = self._mongo[name]
        self.redis = Redis.from_url(  # pyright: ignore[reportUnknownMemberType]
            redis_url, db=redis_database, decode_responses=True
        )
        self.redis.flushdb()
        # As any other language's client would write: no SDK, the partitioner all agree on.
        self._producer = Producer(
            {
                "bootstrap.servers": kafka,
                "partitioner": "murmur2_random",
                "log_level": 0,
                "message.max.bytes": 4 * 1024 * 1024,
            }
        )

    def initialise(self) -> None:
        """`conveyor init`."""
        done = run(
            "init", "--partitions", str(PARTITIONS), folder=self.folder, settings=self.settings
        )
        assert done.returncode == 0, done.stderr

    @contextmanager
    def serving(
        self, name: str = "engine", roles: str = "engine,api"
    ) -> Generator[tuple[Program, str]]:
        """`conveyor serve` with these roles, ready, and its URL."""
        port = free_port()
        url = f"http://127.0.0.1:{port}"
        with running(
            name,
            *("serve", "--roles", roles, "--port", str(port)),
            folder=self.folder,
            settings=self.settings,
        ) as program:
            until(f"{name} is ready", lambda: is_ready(url), 60, [program])
            yield program, url

    @contextmanager
    def warehouse(self) -> Generator[Program]:
        """`conveyor warehouse` with a journal; begins to work as soon as it has joined its group."""
        with running(
            "warehouse",
            *("warehouse", "--journal", str(self.journal_file)),
            folder=self.folder,
            settings=self.settings,
        ) as program:
            yield program

    def reader(self, topic: str) -> TopicReader:
        return TopicReader(self.kafka, self.prefix + topic)

    def journal(self) -> Counter[tuple[str, str]]:
        """(workflow id, operation) -> how many effects."""
        lines = map(json.loads, self.journal_file.read_text().splitlines())
        return Counter((line["idempotencyKey"].split("/")[0], line["operation"]) for line in lines)

    def operations(self, workflow_id: str) -> list[str]:
        """What the warehouse did for one workflow, in order."""
        lines = map(json.loads, self.journal_file.read_text().splitlines())
        return [
            line["operation"]
            for line in lines
            if line["idempotencyKey"].startswith(f"{workflow_id}/")
        ]

    def document(self, workflow_id: str) -> dict[str, Any] | None:
        """The workflow as it stands in MongoDB."""
        return self.database["workflows"].find_one({"_id": workflow_id})

    def start(self, workflow_id: str, simulate: Simulation | None = None) -> None:
        """A start command; on its way when `flush` returns."""
        self.command(workflow_id, START, start_data(workflow_id, simulate))

    def command(
        self,
        workflow_id: str | None,
        type: str,
        data: object,
        *,
        topic: str = COMMANDS,
        **attributes: str,
    ) -> str:
        """A CloudEvent in binary mode; its id."""
        event_id = uuid.uuid4().hex
        headers = {
            "ce_specversion": "1.0",
            "ce_id": event_id,
            "ce_source": "/acceptance",
            "ce_type": type,
            "content-type": "application/json",
            **{f"ce_{name}": value for name, value in attributes.items()},
        }
        if workflow_id is not None:
            headers["ce_subject"] = workflow_id
        self.write(workflow_id, json.dumps(data).encode(), headers, topic)
        return headers["ce_id"]

    def write(
        self, key: str | None, value: bytes, headers: Mapping[str, str], topic: str = COMMANDS
    ) -> None:
        """A record as it is."""
        self._producer.produce(self.prefix + topic, value, key, headers=dict(headers))
        self._producer.poll(0)

    def flush(self) -> None:
        """Until the broker has everything."""
        assert self._producer.flush(30) == 0

    def close(self) -> None:
        """Leave the servers as they were."""
        self._mongo.drop_database(self.database)
        self._mongo.close()
        self.redis.flushdb()
        self.redis.close()
        admin = AdminClient({"bootstrap.servers": self.kafka, "log_level": 0})
        own = [
            name for name in admin.list_topics(timeout=30).topics if name.startswith(self.prefix)
        ]
        for deleted in admin.delete_topics(own).values():
            deleted.result(20)


class RunningSite(Site):
    """A site with one engine, its API and the warehouse."""

    engine: Program
    url: str
    http: httpx.Client
    courses: Courses
    dead_letters: TopicReader
    replies: TopicReader


@contextmanager
def initialised(kafka: str, mongo: str, redis_url: str, folder: Path) -> Generator[Site]:
    """A site without processes yet."""
    site = Site(kafka, mongo, redis_url, folder)
    try:
        site.initialise()
        yield site
    finally:
        site.close()


@contextmanager
def running_site(kafka: str, mongo: str, redis_url: str, folder: Path) -> Generator[RunningSite]:
    """A site at work."""
    site = RunningSite(kafka, mongo, redis_url, folder)
    with ExitStack() as stack:
        stack.callback(site.close)
        site.initialise()
        stack.enter_context(site.warehouse())
        site.engine, site.url = stack.enter_context(site.serving())
        site.http = stack.enter_context(httpx.Client(base_url=site.url, timeout=30))
        site.courses = Courses(stack.enter_context(closing(site.reader(EVENTS))))
        site.dead_letters = stack.enter_context(closing(site.reader(DEAD_LETTERS)))
        site.replies = stack.enter_context(closing(site.reader(REPLIES)))
        yield site

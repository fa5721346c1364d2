"""How systems of this sort are known to fail, each tried here on running processes."""

from __future__ import annotations

import json
import uuid
from collections import Counter, defaultdict
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, closing
from dataclasses import dataclass, field
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import Consumer, KafkaError, Message, Producer, TopicPartition

from tests.acceptance.courses import TopicReader
from tests.acceptance.programs import until
from tests.acceptance.sites import (
    COMMANDS,
    DEAD_LETTERS,
    PARTITIONS,
    REPLIES,
    START,
    Site,
    start_data,
)
from tests.faults.load import COMPENSATED, Order
from tests.faults.plant import Plant, Servers, plant
from tests.faults.tally import Tally
from tests.faults.wire import Wire

pytestmark = [pytest.mark.faults, pytest.mark.timeout(300)]

WAVE = 40
REQUESTS = "orchestration.step.requests.inventory-service"

Place = tuple[str, int, int]


@pytest.fixture
def works(own_servers: Servers, tmp_path: Path, rng: Random, tally: Tally) -> Iterator[Plant]:
    with plant(own_servers, tmp_path, rng, tally) as works:
        yield works


@dataclass(slots=True)
class Poison:
    """Records that nobody can carry out, and where they came to lie."""

    site: Site
    rng: Random
    places: set[Place] = field(default_factory=set[Place])

    def __post_init__(self) -> None:
        self._producer = Producer({"bootstrap.servers": self.site.kafka, "log_level": 0})

    _producer: Producer = field(init=False)

    def pour(self, topic: str, count: int) -> None:
        """On random partitions; acknowledged when this returns."""
        for _ in range(count):
            value, headers = self._record()
            self._producer.produce(
                self.site.prefix + topic,
                value,
                self.rng.choice([None, b"", b"w1-1", self.rng.randbytes(8)]),
                self.rng.randrange(PARTITIONS),
                on_delivery=lambda error, message: self._delivered(topic, error, message),
                headers=headers,
            )
        assert self._producer.flush(30) == 0

    def _record(self) -> tuple[bytes | None, list[tuple[str, str | bytes | None]]]:
        """Bytes of all sorts, and events with one thing wrong."""
        event: dict[str, str | bytes | None] = {
            "ce_specversion": "1.0",
            "ce_id": uuid.uuid4().hex,
            "ce_source": "/poison",
            "ce_type": START,
            "ce_subject": "w1-1",
            "content-type": "application/json",
        }
        match self.rng.randrange(7):
            case 0:
                return None, []
            case 1:
                return self.rng.randbytes(self.rng.randrange(2000)), []
            case 2:
                return self.rng.randbytes(50), list(event.items())
            case 3:
                return b"[" * 100_000, list(event.items())
            case 4:
                return b"{}", list({**event, "ce_type": "orchestration.workflow.explode"}.items())
            case 5:
                return b"{}", list({**event, "ce_id": self.rng.randbytes(9) + b"\xff"}.items())
            case _:
                forged = {**event, "ce_type": "orchestration.internal.timer-due"}
                return b"{}", list(forged.items())

    def _delivered(self, topic: str, error: KafkaError | None, message: Message) -> None:
        assert error is None
        self.places.add((topic, message.partition() or 0, message.offset() or 0))


def test_poison_among_the_messages(works: Plant) -> None:
    """Bad records stop no input and none goes without a trace: each is a dead letter, also over a kill -9."""
    works.warehouse()
    engines = [works.engine("engine-1"), works.engine("engine-2")]
    poison = Poison(works.site, works.rng)

    with closing(works.site.reader(DEAD_LETTERS)) as letters:
        for round in range(6):
            works.load.send(WAVE)
            poison.pour(COMMANDS, 50)
            poison.pour(REPLIES, 50)
            works.load.until_a_random_moment(WAVE * 4)
            if round % 2:
                victim = works.rng.choice(engines)
                works.kill(victim)
                works.again(victim)
        works.load.until_ended()
        until("a dead letter for each", lambda: poison.places <= _places(letters))

        works.tally.fault("poison", len(poison.places))
        assert _places(letters) == poison.places
        assert all(letter.headers["dlq-reason"] for letter in letters.records)
    works.conclude()


def _places(letters: TopicReader) -> set[Place]:
    """Where the refused records had come from."""
    letters.poll()
    return {
        (
            each.headers["dlq-topic"],
            int(each.headers["dlq-partition"]),
            int(each.headers["dlq-offset"]),
        )
        for each in letters.records
    }


def test_poison_for_a_participant(works: Plant) -> None:
    """A participant's requests are not stopped by a bad record either, and it is not lost."""
    works.engine("engine-1")
    warehouse = works.warehouse()
    poison = Poison(works.site, works.rng)

    with closing(works.site.reader(DEAD_LETTERS)) as letters:
        for _ in range(2):
            works.load.send(WAVE)
            poison.pour(REQUESTS, 50)
            works.load.until_a_random_moment(WAVE * 4)
            works.kill(warehouse)
            works.again(warehouse)
        works.load.until_ended()
        until("a dead letter for each", lambda: poison.places <= _places(letters))

        works.tally.fault("poison", len(poison.places))
        assert _places(letters) == poison.places
    works.conclude()


def test_one_message_reaches_several_engines(works: Plant) -> None:
    """Copies of a start on every partition, with three engines of which one dies, start one workflow each."""
    works.warehouse()
    engines = [works.engine(f"engine-{number}") for number in range(3)]
    producer = Producer({"bootstrap.servers": works.site.kafka, "log_level": 0})
    topic = works.site.prefix + COMMANDS
    names = [f"order-{number}" for number in range(100)]

    for place, name in enumerate(names):
        headers: dict[str, str | bytes | None] = {
            "ce_specversion": "1.0",
            "ce_id": name,
            "ce_source": "/shop",
            "ce_type": START,
            "content-type": "application/json",
        }
        value = json.dumps({**start_data(name), "correlationId": name}).encode()
        for partition in range(PARTITIONS):
            # Neither key nor subject: the id is derived, and three of four lie on a wrong partition.
            producer.produce(topic, value, partition=partition, headers=headers)
            works.tally.fault("copy on another partition")
        if place == 50:
            assert producer.flush(30) == 0
            works.load.until_a_random_moment(100)
            victim = works.rng.choice(engines)
            works.kill(victim)
            works.again(victim)
    assert producer.flush(30) == 0
    until("each has started", lambda: set(names) <= _started(works), 60)
    derived = works.site.database["workflow_events"].distinct("workflowId")
    works.load.orders += [
        Order(each, {}, "COMPLETED") for each in derived if not each.startswith("inbox:")
    ]
    works.load.until_ended()

    evidence = works.conclude()
    by_order = Counter(
        evidence.projections[order.id]["correlationId"] for order in works.load.orders
    )
    assert by_order == dict.fromkeys(names, 1)


def _started(works: Plant) -> set[str]:
    """Correlation ids of the workflows of which an event was seen."""
    works.courses.read()
    return {record.data.get("correlationId", "") for record in works.courses.records}


def test_offsets_follow_what_they_stand_for(
    own_servers: Servers, tmp_path: Path, rng: Random, tally: Tally
) -> None:
    """Whatever happens to the document store and the engine, no committed offset is ahead of the log."""
    with ExitStack() as stack, plant(own_servers, tmp_path, rng, tally) as works:
        wire = Wire(own_servers.mongo.address)
        stack.callback(wire.stop)
        works.warehouse()
        engine = works.engine("engine-1", CONVEYOR_MONGODB__URI=wire.address)

        for round in range(8):
            works.load.send(WAVE)
            works.load.until_a_random_moment(WAVE * 3)
            if round % 2:
                tally.fault("store's answers lost")
                with wire.deaf():
                    works.load.send(WAVE // 2)
                    works.load.watch(rng.uniform(0.3, 2))
                    _assert_offsets_are_behind_the_log(works.site)
                    works.kill(engine)
            else:
                works.kill(engine)
            _assert_offsets_are_behind_the_log(works.site)
            works.again(engine)
        works.load.until_ended()

        _assert_offsets_are_behind_the_log(works.site)
        works.conclude()


def _assert_offsets_are_behind_the_log(site: Site) -> None:
    """Every start below the committed offset of its partition has its run in the log."""
    # In this order: the log only grows, so what is missing from it was missing before.
    committed = _committed(site)
    starts = _starts(site)
    known = set(site.database["workflow_events"].distinct("workflowId"))

    for partition, commands in starts.items():
        passed = {key for offset, key in commands.items() if offset < committed[partition]}
        assert passed <= known


def _committed(site: Site) -> Mapping[int, int]:
    """Partition of the commands -> the offset that the engines' group has committed."""
    consumer = Consumer(
        {
            "bootstrap.servers": site.kafka,
            "group.id": f"{site.prefix}conveyor-engine",
            "enable.auto.commit": False,
        }
    )
    try:
        places = [TopicPartition(site.prefix + COMMANDS, number) for number in range(PARTITIONS)]
        return {each.partition: each.offset for each in consumer.committed(places, timeout=20)}
    finally:
        consumer.close()


def _starts(site: Site) -> Mapping[int, Mapping[int, str]]:
    """Partition -> offset -> workflow id, of every start command there is."""
    consumer = Consumer(
        {
            "bootstrap.servers": site.kafka,
            "group.id": "unused",
            "enable.auto.commit": False,
            "enable.partition.eof": True,
        }
    )
    found: defaultdict[int, dict[int, str]] = defaultdict(dict)
    try:
        places = [TopicPartition(site.prefix + COMMANDS, number, 0) for number in range(PARTITIONS)]
        consumer.assign(places)
        open_partitions = set(range(PARTITIONS))
        while open_partitions:
            for message in consumer.consume(1000, 0.2):
                error = message.error()
                if error is not None:
                    assert error.code() == KafkaError._PARTITION_EOF, error
                    open_partitions.discard(message.partition() or 0)
                elif ("ce_type", START.encode()) in (message.headers() or []):
                    key = (message.key() or b"").decode()
                    found[message.partition() or 0][message.offset() or 0] = key
        return found
    finally:
        consumer.close()


def test_no_step_is_retried_without_end(works: Plant) -> None:
    """A step that fails for ever is tried four times, through every death of engine and participant."""
    warehouse, engine = works.warehouse(), works.engine("engine-1")
    orders = [
        Order(
            f"hopeless-{number}",
            {"failStep": "assign-robot", "retryable": True, "errorType": "SERVICE_UNAVAILABLE"},
            COMPENSATED,
        )
        for number in range(100)
    ]
    for order in orders:
        works.site.start(order.id, order.simulate)
    works.site.flush()
    works.load.orders += orders

    for _ in range(3):
        works.load.until_a_random_moment(300)
        works.kill(engine)
        works.kill(warehouse)
        works.again(engine)
        works.again(warehouse)
    works.load.until_ended()

    works.conclude()
    attempts = {
        order.id: [
            event["attempt"]
            for event in works.courses.of_type(order.id, "step.scheduled")
            if event["stepId"] == "assign-robot"
        ]
        for order in orders
    }
    assert attempts == {order.id: [1, 2, 3, 4] for order in orders}

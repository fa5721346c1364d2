"""Offsets that are committed before what they stand for is in the log: none are."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping
from contextlib import ExitStack
from pathlib import Path
from random import Random

import pytest
from confluent_kafka import Consumer, KafkaError, TopicPartition

from tests.acceptance.programs import until
from tests.acceptance.sites import COMMANDS, PARTITIONS, START, Site
from tests.faults.plant import Servers, plant
from tests.faults.tally import Fault, Tally
from tests.faults.wire import Wire

pytestmark = [pytest.mark.faults, pytest.mark.timeout(400)]

WAVE = 40
ROUNDS = 8


def test_offsets_follow_what_they_stand_for(
    own_servers: Servers, tmp_path: Path, rng: Random, tally: Tally
) -> None:
    """Whatever happens to the document store and the engine, no committed offset is ahead of the log."""
    with ExitStack() as stack, plant(own_servers, tmp_path, rng, tally) as works:
        wire = Wire(own_servers.mongo.address)
        stack.callback(wire.stop)
        works.warehouse()
        engine = works.engine("engine-1", CONVEYOR_MONGODB__URI=wire.address)

        passed: list[int] = []
        for round in range(ROUNDS):
            works.load.send(WAVE)
            works.load.until_a_random_moment(WAVE * 3)
            if round % 4 >= 2:
                # Else an engine would always die before it has committed anything.
                before = max(passed)
                until("offsets go on", lambda n=before: _passed_and_in_the_log(works.site) > n)
                works.load.send(WAVE // 2)
                works.load.until_a_random_moment(WAVE)
            if round % 2:
                tally.add(Fault.CONNECTION, "to document store answers lost")
                with wire.deaf():
                    works.load.send(WAVE // 2)
                    works.load.watch(rng.uniform(0.3, 2))
                    passed.append(_passed_and_in_the_log(works.site))
                    works.kill(engine)
            else:
                works.kill(engine)
            passed.append(_passed_and_in_the_log(works.site))
            works.again(engine)
        works.load.until_ended()

        every = len(works.load.orders)
        until("offsets are past it all", lambda: _passed_and_in_the_log(works.site) == every)
        works.expect_no_violations()


def _passed_and_in_the_log(site: Site) -> int:
    """How many starts are below the committed offset of their partition; each of them is in the log."""
    # In this order: the log only grows, so what is missing from it was missing before.
    committed = _committed(site)
    starts = _starts(site)
    known = set(site.database["workflow_events"].distinct("workflowId"))

    passed = {
        key
        for partition, commands in starts.items()
        for offset, key in commands.items()
        if offset < committed[partition]
    }
    assert passed <= known
    return len(passed)


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

"""The partition of a key is the one that every producer of the contract chooses."""

from __future__ import annotations

import asyncio
import random

import pytest
from confluent_kafka import KafkaError, Message, Producer
from conveyor import topics

from adapters.kafka.settings import KafkaSettings
from adapters.partitioner import murmur2, partition_for
from tests.adapters.kafka.conftest import PARTITIONS


@pytest.mark.parametrize(
    ("key", "hashed"),
    [
        (b"21", -973932308),
        (b"foobar", -790332482),
        (b"a-little-bit-long-string", -985981536),
        (b"a-little-bit-longer-string", -1486304829),
        (b"lkjh234lh9fiuh90y23oiuhsafujhadof229phr9h19h89h8", -58897971),
        (b"abc", 479470107),
    ],
)
def test_hashes_as_java_does(key: bytes, hashed: int) -> None:
    """The vectors of Kafka's own `UtilsTest`, which are signed there."""
    assert murmur2(key) == hashed & 0xFFFFFFFF


@pytest.mark.kafka
async def test_chooses_as_the_client_library_does(settings: KafkaSettings) -> None:
    """Keys of every length land on a real broker where `partition_for` says."""
    source = random.Random(17)
    keys = [source.randbytes(length) for length in range(65) for _ in range(4)]
    landed: dict[bytes, int] = {}

    def on_delivery(error: KafkaError | None, message: Message) -> None:
        assert error is None
        landed[message.key() or b""] = message.partition() or 0

    producer = Producer({**settings.client(), "partitioner": "murmur2_random"})
    for key in keys:
        producer.produce(settings.on_broker(topics.EVENTS), b"", key, on_delivery=on_delivery)
    await asyncio.to_thread(producer.flush, 15)

    assert landed == {key: partition_for(key, PARTITIONS) for key in keys}

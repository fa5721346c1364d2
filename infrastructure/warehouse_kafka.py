"""The simulated warehouse over Kafka, as any other participant runs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from pathlib import Path

from conveyor.kafka import KafkaTransport
from conveyor.key_store import MemoryKeyStore
from conveyor.redis_keys import RedisKeyStore
from conveyor.runner import ParticipantRunner

from infrastructure.warehouse import build_warehouse


async def run_warehouse_kafka(
    *,
    bootstrap_servers: str,
    redis_url: str | None,
    stop: asyncio.Event,
    journal: Path | None = None,
    failure_rate: float = 0.0,
    latency_ms: int = 0,
    topic_prefix: str = "",
    instance: str | None = None,
    properties: Mapping[str, str] | None = None,
) -> None:
    """Serve until `stop` is set, then finish what was begun.

    Without Redis a restart forgets the keys: for one process and a trial only. The garbage
    collector of the process is set to run seldom: nothing here makes reference cycles.
    """
    gc.set_threshold(50_000, 20, 50)
    runner = ParticipantRunner(
        build_warehouse(journal, failure_rate, latency_ms),
        KafkaTransport(bootstrap_servers, topic_prefix=topic_prefix, properties=properties),
        MemoryKeyStore() if redis_url is None else RedisKeyStore(redis_url),
        instance=instance,
    )
    await runner.run_until(stop)

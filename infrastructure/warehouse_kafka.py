"""The simulated warehouse over Kafka, as any other participant runs."""

from __future__ import annotations

import asyncio
import gc
from collections.abc import Mapping
from pathlib import Path

import structlog
from conveyor.kafka import KafkaTransport
from conveyor.key_store import MemoryKeyStore
from conveyor.redis_keys import RedisKeyStore
from conveyor.runner import ParticipantRunner

from adapters.kafka.health import KafkaProbe
from infrastructure.probes import report_outages
from infrastructure.running import stop_on_signals
from infrastructure.settings import Settings
from infrastructure.warehouse import SERVICES, build_warehouse
from infrastructure.wiring import kafka_settings

log = structlog.get_logger("conveyor")


async def run_warehouse(
    settings: Settings, *, journal: Path | None, failure_rate: float, latency_ms: int
) -> None:
    """Serve the servers of the settings until SIGTERM; a server that is away is logged and waited for."""
    stop = stop_on_signals()
    kafka, redis = kafka_settings(settings), settings.redis
    servers, services = kafka.bootstrap_servers, list(SERVICES)
    log.info("the simulated warehouse runs; Ctrl-C stops it", kafka=servers, services=services)
    if not redis.enabled:
        log.warning("without Redis a restart forgets which steps were performed: for trials only")
    watching = asyncio.create_task(report_outages({"kafka": KafkaProbe(kafka).problem}, stop))
    try:
        await run_warehouse_kafka(
            bootstrap_servers=servers,
            redis_url=redis.address if redis.enabled else None,
            stop=stop,
            journal=journal,
            failure_rate=failure_rate,
            latency_ms=latency_ms,
            topic_prefix=kafka.topic_prefix,
            instance=settings.instance_id,
            properties=kafka.properties,
        )
    finally:
        watching.cancel()


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

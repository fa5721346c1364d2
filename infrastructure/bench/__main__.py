"""One role of the Kafka mode, as `conveyor serve --roles engine` and `conveyor warehouse` run it."""

from __future__ import annotations

import asyncio
import sys
from pathlib import Path

from infrastructure.bench.children import ENGINE
from infrastructure.bench.profiles import profiled
from infrastructure.running import stop_on_signals
from infrastructure.serve import run_serve
from infrastructure.settings import Settings, load_settings
from infrastructure.telemetry import configure_logging
from infrastructure.warehouse_kafka import run_warehouse_kafka


async def _run(role: str, settings: Settings) -> None:
    if role == ENGINE:
        await run_serve(settings, [ENGINE], insecure=settings.profile == "production")
        return
    kafka = settings.kafka
    await run_warehouse_kafka(
        bootstrap_servers=kafka.bootstrap_servers,
        redis_url=settings.redis.address if settings.redis.enabled else None,
        stop=stop_on_signals(),
        topic_prefix=kafka.topic_prefix,
        properties=kafka.client_properties(),
    )


def main() -> None:
    """Arguments: the role, and where its profile goes if it is to be profiled."""
    role, *profile = sys.argv[1:]
    settings = load_settings()
    configure_logging(settings.log)
    with profiled(Path(profile[0]) if profile else None):
        asyncio.run(_run(role, settings))


if __name__ == "__main__":
    main()

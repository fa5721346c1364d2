"""One role of a run: `conveyor serve --roles engine`, `conveyor warehouse` or `conveyor-worker`.

Or what stands for it in a run without an engine; see `kafka_ceiling`.
"""

from __future__ import annotations

import argparse
import signal
from collections.abc import Mapping
from pathlib import Path
from types import FrameType
from typing import NoReturn

import uvloop
from conveyor import worker_command

from bench.recipes.children import ENGINE, PARTICIPANT, WORKER
from bench.recipes.kafka_ceiling import EngineCopy, ParticipantCopy
from bench.recipes.profiles import profiled
from bench.recipes.saga import record_saga
from infrastructure.logs import configure_logging
from infrastructure.running import stop_on_signals
from infrastructure.serve import run_serve
from infrastructure.settings import Settings, load_settings
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


async def _run_copy(copy: EngineCopy | ParticipantCopy) -> None:
    await copy.run(stop_on_signals())


def _phase(text: str) -> tuple[str, int]:
    """`PREFIX=COUNT`."""
    prefix, _, count = text.rpartition("=")
    return prefix, int(count)


def _leave(_number: int, _frame: FrameType | None) -> NoReturn:
    """Told to stop before the role's own handler is there: what was begun is cleaned up."""
    raise SystemExit(0)


def main() -> None:
    signal.signal(signal.SIGTERM, _leave)
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("role", choices=[ENGINE, PARTICIPANT, WORKER])
    parser.add_argument("--profile", type=Path, help="where the profile goes")
    parser.add_argument(
        "--copies", type=_phase, nargs="+", help="id prefixes: no engine, no participant"
    )
    given = parser.parse_args()
    settings = load_settings()
    configure_logging(settings.log)
    phases: Mapping[str, int] | None = given.copies and dict(given.copies)
    with profiled(given.profile):
        if given.role == WORKER:
            worker_command.main(["bench.recipes.warehouse_worker:worker"])
        if phases is None:
            uvloop.run(_run(given.role, settings))
            return
        saga = record_saga(next(iter(phases)), settings)
        kind = EngineCopy if given.role == ENGINE else ParticipantCopy
        uvloop.run(_run_copy(kind(saga, phases, settings)))


if __name__ == "__main__":
    main()

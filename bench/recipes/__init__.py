"""`conveyor bench`: workflows per second, latency, CPU, memory and flushes of either run mode.

It measures the production code with every guarantee on; only the log level is WARNING.
The clock runs from the first start command written to the last end event read back.
"""

from __future__ import annotations

from bench.recipes.embedded import ceiling_embedded, grow_embedded, run_embedded
from bench.recipes.embedded_recovery import recover_embedded
from bench.recipes.embedded_workers import run_workers
from bench.recipes.errors import BenchError, ServersAwayError
from bench.recipes.kafka import ceiling_kafka, grow_kafka, recover_kafka, run_kafka
from bench.recipes.load import Load
from bench.recipes.options import Options

__all__ = [
    "BenchError",
    "Load",
    "Options",
    "ServersAwayError",
    "ceiling_embedded",
    "ceiling_kafka",
    "grow_embedded",
    "grow_kafka",
    "recover_embedded",
    "recover_kafka",
    "run_embedded",
    "run_kafka",
    "run_workers",
]

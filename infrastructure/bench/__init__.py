"""`conveyor bench`: workflows per second, latency, CPU, memory and flushes of either run mode.

What is measured is what production runs, with every guarantee on; only its log level is WARNING.
The clock runs from the first start command written to the last end event read back.
"""

from __future__ import annotations

from infrastructure.bench.embedded import ceiling_embedded, grow_embedded, run_embedded
from infrastructure.bench.embedded_recovery import recover_embedded
from infrastructure.bench.errors import BenchError, ServersAwayError
from infrastructure.bench.kafka import ceiling_kafka, grow_kafka, recover_kafka, run_kafka
from infrastructure.bench.load import Load
from infrastructure.bench.options import Options

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
]

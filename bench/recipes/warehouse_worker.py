"""The simulated warehouse as `conveyor-worker` runs it."""

from __future__ import annotations

from conveyor import Worker

from infrastructure.warehouse import build_warehouse

worker = Worker(build_warehouse())

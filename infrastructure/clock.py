"""The machine's clocks as the application sees them."""

from __future__ import annotations

import asyncio
import time
from datetime import UTC, datetime

from application.codec.times import truncated


class SystemClock:
    """UTC, whole milliseconds."""

    def now(self) -> datetime:
        return truncated(datetime.now(UTC))

    def monotonic(self) -> float:
        return time.monotonic()

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

"""The wall clock as the application sees it."""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime

from application.codec.times import truncated


class SystemClock:
    """UTC, whole milliseconds."""

    def now(self) -> datetime:
        return truncated(datetime.now(UTC))

    async def sleep(self, seconds: float) -> None:
        await asyncio.sleep(seconds)

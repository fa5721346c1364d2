"""Times on the wire: RFC 3339 in UTC, with milliseconds."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4096)
def rfc3339(time: datetime) -> str:
    """`2026-11-21T02:30:00.123Z`: UTC, cut to whole milliseconds. The time has an offset.

    Cached, because all events of one batch happen at one moment.
    """
    return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

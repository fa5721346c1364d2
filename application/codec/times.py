"""Times on the wire: RFC 3339, UTC, milliseconds (CONTRACT 6)."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import lru_cache


@lru_cache(maxsize=4096)
def parse_time(text: str) -> datetime:
    """The moment in UTC, cut to milliseconds. Raises ValueError unless it is a time with an offset."""
    moment = datetime.fromisoformat(text)
    if moment.tzinfo is None:
        raise ValueError(f"'{text}' has no offset; write it like 2026-11-21T02:30:00.123Z")
    return truncated(moment.astimezone(UTC))


def truncated(moment: datetime) -> datetime:
    """Whole milliseconds, so that what is written and read back is what was decided on."""
    return moment.replace(microsecond=moment.microsecond // 1000 * 1000)

"""Times on the wire: any form of RFC 3339 is read, UTC with milliseconds is written."""

from __future__ import annotations

import re
from datetime import UTC, datetime, timedelta
from functools import lru_cache

_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)[Tt ](\d\d:\d\d):(\d\d)(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII
)
_LEAP_SECOND = "60"


def parse_rfc3339(text: str) -> datetime:
    """The moment in UTC, cut to microseconds; a leap second is the first second of the next minute.

    Raises ValueError for what is not an RFC 3339 time within the years 1 to 9999.
    """
    match = _RFC3339.fullmatch(text)
    if match is None:
        raise ValueError("is not an RFC 3339 time with an offset, as 2026-11-21T02:30:00.123Z")
    date, minute, second, fraction, offset = match.groups("")
    is_leap = second == _LEAP_SECOND
    time = f"{date}T{minute}:{'59' if is_leap else second}{fraction[:7]}{offset.upper()}"
    try:
        moment = datetime.fromisoformat(time).astimezone(UTC) + timedelta(seconds=is_leap)
    except OverflowError:
        raise ValueError("is outside the years 1 to 9999 in UTC") from None
    if is_leap and (moment.hour, moment.minute) != (0, 0):
        raise ValueError("has a leap second, which only the last minute of a day in UTC can have")
    return moment


@lru_cache(maxsize=4096)
def rfc3339(time: datetime) -> str:
    """`2026-11-21T02:30:00.123Z`: UTC, cut to whole milliseconds. The time has an offset.

    Cached, because all events of one batch happen at one moment.
    """
    return time.astimezone(UTC).isoformat(timespec="milliseconds")[:-6] + "Z"

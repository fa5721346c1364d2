"""Refused messages: the original with the reason in headers, on the dead-letter topic."""

from __future__ import annotations

from dataclasses import replace

from conveyor import topics
from conveyor.messages import Record


def dead_letter(
    record: Record, *, reason: str, detail: str, partition: int, offset: int, time: str
) -> Record:
    """The record to write; `reason` is a code, `time` RFC 3339."""
    headers = (
        ("dlq-reason", reason.encode()),
        ("dlq-detail", detail.encode(errors="replace")),
        ("dlq-topic", record.topic.encode()),
        ("dlq-partition", b"%d" % partition),
        ("dlq-offset", b"%d" % offset),
        ("dlq-time", time.encode()),
    )
    return replace(
        record, topic=topics.DEAD_LETTER, headers=record.headers + headers, partition=None
    )

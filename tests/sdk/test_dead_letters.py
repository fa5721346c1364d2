"""Dead letters that fit into their topic whatever the refused record holds."""

from __future__ import annotations

import pytest
from conveyor import topics
from conveyor.dead_letters import TOPIC_BYTES_MAX, dead_letter, shortened, size_of
from conveyor.messages import Record

MIB = 1024 * 1024


def letter_of(record: Record, detail: str = "too large") -> Record:
    return dead_letter(
        record,
        reason="TOO_LARGE",
        detail=detail,
        partition=3,
        offset=41,
        time="2026-11-21T02:30:00.123Z",
    )


def test_a_record_is_kept_whole_with_the_reason_beside_it() -> None:
    """Key, value and headers stay; why and where it was refused is added."""
    record = Record(topic="t", key=b"k", value=b"v", headers=(("a", b"1"), ("a", b"2")))

    letter = letter_of(record)

    assert (letter.topic, letter.key, letter.value) == (topics.DEAD_LETTER, b"k", b"v")
    assert letter.partition is None
    assert letter.headers == (
        ("a", b"1"),
        ("a", b"2"),
        ("dlq-reason", b"TOO_LARGE"),
        ("dlq-detail", b"too large"),
        ("dlq-topic", b"t"),
        ("dlq-partition", b"3"),
        ("dlq-offset", b"41"),
        ("dlq-time", b"2026-11-21T02:30:00.123Z"),
    )


@pytest.mark.parametrize(
    ("record", "kept"),
    [
        (
            Record(topic="t", key=b"k", value=b"x" * 6_000_000, headers=(("a", b"1"),)),
            "the first 1024 of 6000000 bytes of the value",
        ),
        (
            Record(topic="t", key=b"k" * 5 * MIB, value=b"{}"),
            "the first 32768 of 5242880 bytes of the key",
        ),
        (
            Record(topic="t", key=b"k", value=b"{}", headers=(("a", b"x" * 5 * MIB),)),
            "0 of 1 headers",
        ),
        (
            Record(topic="t", key=b"k", value=None, headers=(("n" * 5 * MIB, b""), ("b", b""))),
            "0 of 2 headers",
        ),
        (
            Record(topic="t", key=b"k", value=b"{}", headers=(("a", b""),) * 500_000),
            "2520 of 500000 headers",
        ),
        (
            Record(topic="t", key=b"k" * MIB, value=b"x" * 2 * MIB, headers=(("a", b"y" * MIB),)),
            (
                "the first 1024 of 2097152 bytes of the value, "
                "the first 32768 of 1048576 bytes of the key, 0 of 1 headers"
            ),
        ),
    ],
    ids=["value", "key", "header value", "header name", "many headers", "together"],
)
def test_one_that_would_be_too_large_says_what_it_leaves_out(record: Record, kept: str) -> None:
    """Key, value and headers are measured, and the detail names what is not there."""
    letter = letter_of(record)

    headers = dict(letter.headers)
    assert size_of(letter) < TOPIC_BYTES_MAX
    assert headers["dlq-detail"].decode() == f"too large (too large, kept: {kept})"
    assert headers["dlq-offset"] == b"41"
    assert (record.key or b"").startswith(letter.key or b"")
    assert (record.value or b"").startswith(letter.value or b"")


def test_at_the_limit_it_is_whole() -> None:
    """One byte decides."""
    empty = size_of(letter_of(Record(topic="t", key=None, value=b"")))
    fits, exceeds = (b"x" * (TOPIC_BYTES_MAX - empty + more) for more in (0, 1))

    assert letter_of(Record(topic="t", key=None, value=fits)).value == fits
    assert letter_of(Record(topic="t", key=None, value=exceeds)).value == b"x" * 1024


def test_a_short_one_is_not_changed_by_shortening() -> None:
    """Nothing is said to be left out when nothing is."""
    letter = letter_of(Record(topic="t", key=b"k", value=b"v", headers=(("a", b"1"),)))

    assert shortened(letter) == letter


def test_a_detail_may_hold_what_is_not_unicode_and_is_cut() -> None:
    """A detail quotes the record, which may hold anything."""
    headers = dict(
        letter_of(Record(topic="t", key=None, value=None), "\ud800" + "x" * 3000).headers
    )

    assert headers["dlq-detail"] == b"?" + b"x" * 1999

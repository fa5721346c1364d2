"""Dead letters: a refused record with the reason in its headers, on the dead-letter topic."""

from __future__ import annotations

from collections.abc import Sequence

from conveyor import topics
from conveyor.messages import Record
from conveyor.values import replace

#: The largest record that the dead-letter topic takes (its `max.message.bytes` after `conveyor init`).
TOPIC_BYTES_MAX = 4 * 1024 * 1024

#: How much a shortened dead letter keeps of the value, of the key and of the original's headers.
_KEPT_VALUE_BYTES = 1024
_KEPT_KEY_BYTES = 32 * 1024
_KEPT_HEADERS_BYTES = 32 * 1024
#: Kafka's own bytes: of a record and its batch, and of one header.
_RECORD_OVERHEAD_BYTES = 256
_HEADER_OVERHEAD_BYTES = 12
_MAX_DETAIL_CHARACTERS = 2_000


def dead_letter(
    record: Record, *, reason: str, detail: str, partition: int, offset: int, time: str
) -> Record:
    """The dead letter of a record: its key, value and headers, with `dlq-*` headers added.

    `reason` is a code, `detail` a sentence, `time` RFC 3339. A dead letter that the topic would not
    take carries the first KiB of the value instead of all of it, and `dlq-detail` says so.
    """
    letter = Record(
        topic=topics.DEAD_LETTER,
        key=record.key,
        value=record.value,
        headers=(
            *record.headers,
            ("dlq-reason", reason.encode()),
            ("dlq-detail", detail[:_MAX_DETAIL_CHARACTERS].encode(errors="replace")),
            ("dlq-topic", record.topic.encode()),
            ("dlq-partition", b"%d" % partition),
            ("dlq-offset", b"%d" % offset),
            ("dlq-time", time.encode()),
        ),
    )
    return letter if size_of(letter) <= TOPIC_BYTES_MAX else shortened(letter)


def size_of(record: Record) -> int:
    """An upper bound of the bytes that a record takes in Kafka: key, value and headers."""
    headers = sum(map(_size_of_header, record.headers))
    return len(record.key or b"") + len(record.value or b"") + headers + _RECORD_OVERHEAD_BYTES


def shortened(letter: Record) -> Record:
    """A shorter form of a dead letter, for a topic that does not take all of it.

    It keeps the first KiB of the value, 32 KiB of the key and 32 KiB of the original's headers,
    each header whole or not at all. `dlq-detail` names the parts that were cut.
    """
    original = [header for header in letter.headers if not header[0].startswith("dlq-")]
    added = dict(header for header in letter.headers if header[0].startswith("dlq-"))
    headers = _first_headers(original)
    key = letter.key and letter.key[:_KEPT_KEY_BYTES]
    value = letter.value and letter.value[:_KEPT_VALUE_BYTES]
    cuts = [
        f"the first {len(kept)} of {len(whole)} bytes of the {name}"
        for name, kept, whole in (("value", value, letter.value), ("key", key, letter.key))
        if kept is not None and whole is not None and len(kept) < len(whole)
    ]
    if len(headers) < len(original):
        cuts.append(f"{len(headers)} of {len(original)} headers")
    if cuts:
        added["dlq-detail"] += f" (too large, kept: {', '.join(cuts)})".encode()
    return replace(letter, key=key, value=value, headers=(*headers, *added.items()))


def _first_headers(headers: Sequence[tuple[str, bytes]]) -> list[tuple[str, bytes]]:
    """The first headers, up to the limit."""
    kept: list[tuple[str, bytes]] = []
    left = _KEPT_HEADERS_BYTES
    for header in headers:
        left -= _size_of_header(header)
        if left < 0:
            break
        kept.append(header)
    return kept


def _size_of_header(header: tuple[str, bytes]) -> int:
    name, value = header
    return len(name.encode()) + len(value) + _HEADER_OVERHEAD_BYTES

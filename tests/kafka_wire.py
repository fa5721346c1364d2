"""Records that no client library writes, sent to a broker in Kafka's own protocol (Produce, version 3).

The libraries for Python take header names as text only; those of Go and Java write any bytes.
"""

from __future__ import annotations

import asyncio
import struct
import time
from collections.abc import Sequence

_PRODUCE, _VERSION = 0, 3
_ACKS_ALL, _TIMEOUT_MS = -1, 10_000
#: The CRC-32C polynomial, reversed.
_CASTAGNOLI = 0x82F63B78

Headers = Sequence[tuple[bytes, bytes | None]]


async def produce(
    bootstrap: str,
    topic: str,
    partition: int,
    *,
    key: bytes | None,
    value: bytes | None,
    headers: Headers = (),
) -> int:
    """Write one record to a broker that leads the partition, and return its offset.

    `topic` is the broker's name. Raises OSError with Kafka's error code if the broker refuses it.
    """
    host, _, port = bootstrap.rpartition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(_sized(_request(topic, partition, _batch(key, value, headers))))
        size: int
        (size,) = struct.unpack(">i", await reader.readexactly(4))
        return _offset_in(await reader.readexactly(size), topic)
    finally:
        writer.close()


def _request(topic: str, partition: int, batch: bytes) -> bytes:
    return b"".join(
        (
            struct.pack(">hhi", _PRODUCE, _VERSION, 1),
            _text("test"),
            struct.pack(">hhi", -1, _ACKS_ALL, _TIMEOUT_MS),  # no transaction
            struct.pack(">i", 1),
            _text(topic),
            struct.pack(">ii", 1, partition),
            _sized(batch),
        )
    )


def _offset_in(response: bytes, topic: str) -> int:
    """Correlation id, one topic, one partition: then its number, error code and offset."""
    start = 4 + 4 + 2 + len(topic.encode()) + 4
    _, code, offset = struct.unpack_from(">ihq", response, start)
    if code:
        raise OSError(code, f"the broker refused the record with error {code}")
    return offset


def _batch(key: bytes | None, value: bytes | None, headers: Headers) -> bytes:
    """A record batch of version 2 with one record, not compressed."""
    now = int(time.time() * 1000)
    record = b"".join(
        (
            b"\0",
            _varint(0),
            _varint(0),
            _bytes(key),
            _bytes(value),
            _varint(len(headers)),
            *(_bytes(name) + _bytes(text) for name, text in headers),
        )
    )
    summed = struct.pack(">hiqqqhii", 0, 0, now, now, -1, -1, -1, 1)
    summed += _varint(len(record)) + record
    # Partition leader epoch, magic, checksum.
    tail = struct.pack(">ibI", -1, 2, _crc32c(summed)) + summed
    return struct.pack(">q", 0) + _sized(tail)


def _sized(content: bytes) -> bytes:
    return struct.pack(">i", len(content)) + content


def _text(content: str) -> bytes:
    return struct.pack(">h", len(content.encode())) + content.encode()


def _bytes(content: bytes | None) -> bytes:
    return _varint(-1) if content is None else _varint(len(content)) + content


def _varint(number: int) -> bytes:
    """Zigzag, seven bits to a byte."""
    left = number << 1 if number >= 0 else ((-number) << 1) - 1
    encoded = bytearray()
    while left > 0x7F:
        encoded.append(left & 0x7F | 0x80)
        left >>= 7
    encoded.append(left)
    return bytes(encoded)


def _crc32c(content: bytes) -> int:
    crc = 0xFFFFFFFF
    for byte in content:
        crc ^= byte
        for _ in range(8):
            crc = crc >> 1 ^ (_CASTAGNOLI if crc & 1 else 0)
    return crc ^ 0xFFFFFFFF

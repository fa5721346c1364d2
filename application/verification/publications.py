"""The published events of each workflow, summarised in a few bytes per workflow."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import blake2b

from conveyor.messages import MalformedEvent, Message

from application.ports import Published, PublishedRange, RecordedEvent
from application.verification.findings import Finding, Kind

_DIGEST_BYTES = 8
_DIGESTS = 1 << (8 * _DIGEST_BYTES)
#: No history is that long. A higher version would only fill the memory.
_VERSION_MAX = 10_000_000


@dataclass(slots=True)
class Seen:
    """The first publications of one workflow's events.

    The digest is a sum, so that it does not depend on their order, which is looked at by itself.
    """

    #: Bit n: version n was published.
    versions: int = 0
    digest: int = 0
    #: Versions that came for the first time after a higher one.
    late: list[int] = field(default_factory=list[int])

    def has(self, version: int) -> bool:
        return bool(self.versions >> version & 1)

    def add(self, version: int, digest: int) -> None:
        if self.has(version):
            return
        if self.versions >> version:
            self.late.append(version)
        self.versions |= 1 << version
        self.digest = added(self.digest, digest)

    def __iter__(self) -> Iterator[int]:
        return (version for version in range(self.versions.bit_length()) if self.has(version))


class Publications:
    """First takes every retained record of the topic, then returns one workflow after another."""

    def __init__(self, ranges: Sequence[PublishedRange], now: datetime) -> None:
        #: Partition -> the time of its oldest record, where older ones are gone.
        self._horizons = {each.partition: now for each in ranges if each.start > 0}
        self._begun: set[int] = set()
        self._seen: dict[str, Seen] = {}

    def add(self, published: Published) -> Finding | None:
        """Take note of a record, or say why it is not an event of a workflow."""
        partition, message = published.partition, published.message
        if partition not in self._begun:
            self._begun.add(partition)
            # Not the start of the range: records may have been deleted since.
            if published.offset > 0:
                self._horizons[partition] = published.timestamp
        place = f"partition {partition}, offset {published.offset}"
        if isinstance(message, MalformedEvent):
            return Finding(None, Kind.FOREIGN, f"{place}: {message.detail}")
        aggregate_id, _, number = message.id.rpartition(":")
        if not (aggregate_id and number.isascii() and number.isdigit() and len(number) < 9):
            return Finding(None, Kind.FOREIGN, f"{place}: {message.type} has the id {message.id!r}")
        version = int(number)
        if not 0 < version <= _VERSION_MAX:
            return Finding(None, Kind.FOREIGN, f"{place}: {message.type} has the id {message.id!r}")
        seen = self._seen.get(aggregate_id)
        if seen is None:
            seen = self._seen[aggregate_id] = Seen()
        seen.add(version, _digest_of(message))
        return None

    def take(self, aggregate_id: str) -> Seen:
        """Return and forget what was published for one aggregate."""
        return self._seen.pop(aggregate_id, None) or Seen()

    def untaken(self) -> Iterator[tuple[str, Seen]]:
        """What was not taken."""
        yield from self._seen.items()

    def horizon(self, partition: int) -> datetime | None:
        """Events of the partition before this time may be gone; None if none was ever deleted."""
        return self._horizons.get(partition)


def added(digest: int, other: int) -> int:
    """The digest of both."""
    return (digest + other) % _DIGESTS


def digest_of(event: RecordedEvent, causation_id: str) -> int:
    """The digest of an event of the log, as it should have been published."""
    head = event.head
    return _digest(event.type, head.event_id, head.aggregate_id, causation_id, event.json)


def _digest_of(message: Message) -> int:
    causation_id = message.extensions.get("causationid", "")
    return _digest(message.type, message.id, message.key or "", causation_id, message.data)


def _digest(type: str, event_id: str, key: str, causation_id: str, data: bytes) -> int:
    attributes = f"{type}\n{event_id}\n{key}\n{causation_id}\n"
    hashed = blake2b(attributes.encode() + data, digest_size=_DIGEST_BYTES)
    return int.from_bytes(hashed.digest())

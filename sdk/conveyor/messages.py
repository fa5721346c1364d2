"""The envelope that everything on a topic travels in: a CloudEvent and its transport headers."""

from __future__ import annotations

from collections.abc import Mapping

from conveyor.values import Value, field


class Message(Value):
    """A CloudEvent 1.0 with the topic, key and plain headers that it travels with.

    `data` is the JSON document as bytes, `time` is RFC 3339 in UTC, `extensions` are the CloudEvents
    extension attributes (`correlationid`, `causationid`, `traceparent`, `idempotencykey`, `attempt`),
    `headers` the transport headers that are not CloudEvents attributes (`conveyor-mac`, `hops`).
    """

    topic: str
    key: str | None
    type: str
    source: str
    id: str
    data: bytes
    subject: str | None = None
    time: str | None = None
    dataschema: str | None = None
    extensions: Mapping[str, str] = field(default_factory=dict[str, str])
    headers: Mapping[str, bytes] = field(default_factory=dict[str, bytes])
    #: None: chosen by the key (murmur2_random).
    partition: int | None = None

    @property
    def message_id(self) -> str:
        """Source and id, which are unique together: a copy has the same, a new message does not.

        A source has no white space, so the id begins after the first space.
        """
        return f"{self.source} {self.id}"


class Record(Value):
    """A message as the broker stores it: for dead letters, and for messages sent on unread."""

    topic: str
    key: bytes | None
    value: bytes | None
    headers: tuple[tuple[str, bytes], ...] = ()
    partition: int | None = None


class MalformedEvent(ValueError):
    """The record is not a CloudEvent that this service can read; `code` goes into `dlq-reason`."""

    def __init__(self, code: str, detail: str) -> None:
        super().__init__(detail)
        self.code = code
        self.detail = detail

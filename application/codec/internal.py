"""Messages between aggregates, and due timers: signed, so that only engines can send them (CONTRACT 1)."""

from __future__ import annotations

import hmac
from collections.abc import Callable
from typing import Any

import orjson
from conveyor import topics
from conveyor.messages import Message

from application.aggregates.aggregate import Inbound
from application.ports import INTERNAL_PREFIX, Document
from domain.aggregate.timer import Firing

SOURCE = "/conveyor"
MAC_HEADER = "conveyor-mac"
TIMER_DUE = f"{INTERNAL_PREFIX}timer-due"
TIMER_SOURCE = "/conveyor/timers"
#: Sources of the engines' own messages. Nobody else may send with them.
SOURCES = frozenset({SOURCE, TIMER_SOURCE})

#: Message type, key and value -> proof that an engine of this installation sent it.
Sign = Callable[[str, str, bytes], bytes]


def signed_with(secret: bytes) -> Sign:
    """Signs with the secret that `conveyor init` wrote to the event store."""

    def sign(message_type: str, key: str, value: bytes) -> bytes:
        signed = b"\0".join((message_type.encode(), key.encode(), value))
        return hmac.digest(secret, signed, "sha256").hex().encode()

    return sign


def is_own(message_id: str) -> bool:
    """Whether an engine sent the message. Then no copy of it can arrive after its id was forgotten."""
    return message_id.partition(" ")[0] in SOURCES


def has_valid_mac(sign: Sign, message: Message) -> bool:
    given = message.headers.get(MAC_HEADER, b"")
    expected = sign(message.type, message.key or "", message.data)
    return hmac.compare_digest(given, expected)


def timer_message(sign: Sign, aggregate_id: str, firing: Firing) -> Message:
    """A due timer as the engine sends it to its own inbox; the same firing has the same id."""
    subject = firing.subject or ""
    data = orjson.dumps(
        {
            "kind": firing.name,
            "stepId": firing.subject,
            "attempt": firing.number,
            "round": firing.round,
        }
    )
    message_id = f"{aggregate_id}/{firing.name}/{subject}/{firing.round}/{firing.number}"
    return _internal(sign, aggregate_id, TIMER_DUE, TIMER_SOURCE, message_id, data)


def read_timer(message: Message) -> Inbound:
    """The timer. Only messages with a valid MAC are read, so the message is as `timer_message` wrote it."""
    data: dict[str, Any] = orjson.loads(message.data)
    firing = Firing(
        name=data["kind"], subject=data["stepId"], number=data["attempt"], round=data["round"]
    )
    return Inbound(message.key or "", firing)


def send_message(sign: Sign, send: Document, message_id: str) -> Message:
    """The message of a stored send. It has the same id and bytes, whichever engine publishes it."""
    type_ = f"{INTERNAL_PREFIX}{send['type']}"
    return _internal(sign, send["to"], type_, SOURCE, message_id, orjson.dumps(send["data"]))


def _internal(
    sign: Sign, to: str, message_type: str, source: str, message_id: str, data: bytes
) -> Message:
    return Message(
        topic=topics.COMMANDS,
        key=to,
        type=message_type,
        source=source,
        id=message_id,
        data=data,
        subject=to,
        headers={MAC_HEADER: sign(message_type, to, data)},
    )

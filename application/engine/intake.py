"""Sorting what came from the inbox: understood, to another partition, or to the dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from conveyor.dead_letters import dead_letter
from conveyor.messages import MalformedEvent, Message, Record

from application.codec.commands import INTERNAL_PREFIX, decode, has_valid_mac
from application.codec.times import parse_time, rfc3339
from application.engine.drafts import Work
from application.ports import Received

log = structlog.get_logger("WorkflowEngine")

#: A message whose key, value and headers are over this is a dead letter (CONTRACT 1).
MESSAGE_BYTES_MAX = 1024 * 1024
#: Characters of source and id together: they come again in every outcome, and 1,000 of them are remembered.
MESSAGE_ID_MAX = 1024
#: How often a message may be sent on to another partition.
HOPS_MAX = 2
HOPS_HEADER = "hops"


@dataclass(slots=True)
class Intake:
    """One batch, sorted. Groups keep the order of arrival within each partition and workflow."""

    #: partition -> workflow id -> messages
    groups: dict[int, dict[str, list[Work]]] = field(
        default_factory=dict[int, dict[str, list[Work]]]
    )
    dead_letters: list[Record] = field(default_factory=list[Record])
    rerouted: list[Record] = field(default_factory=list[Record])


def sort(
    received: Sequence[Received],
    partition_of: Callable[[str], int],
    is_here: Callable[[int, str], bool],
    secret: bytes,
) -> Intake:
    """`is_here` tells cheaply that a partition holds a workflow; only others need their partition computed."""
    intake = Intake()
    for item in received:
        try:
            work = _understood(item, secret)
            partition = item.position.partition
            workflow_id = work.inbound.workflow_id
            if is_here(partition, workflow_id) or partition_of(workflow_id) == partition:
                intake.groups.setdefault(partition, {}).setdefault(workflow_id, []).append(work)
            else:
                intake.rerouted.append(_sent_on(item, work))
        except MalformedEvent as fault:
            intake.dead_letters.append(_dead_letter(item, fault.code, fault.detail))
        except Exception as bug:
            # Whatever one record raises costs that record, not the partition (PROTOCOL rule 15).
            log.exception("reading failed", position=item.position)
            detail = f"{type(bug).__name__}: {bug}"
            intake.dead_letters.append(_dead_letter(item, "INTERNAL", detail))
    return intake


def _understood(item: Received, secret: bytes) -> Work:
    message = item.message
    size = item.size
    if size > MESSAGE_BYTES_MAX:
        raise MalformedEvent(
            "TOO_LARGE",
            f"key, value and headers have {size} bytes; a message has at most {MESSAGE_BYTES_MAX}",
        )
    if isinstance(message, MalformedEvent):
        raise message
    if len(message.message_id) > MESSAGE_ID_MAX:
        raise MalformedEvent(
            "TOO_LARGE",
            f"source and id have {len(message.message_id)} characters, at most {MESSAGE_ID_MAX}",
        )
    if message.type.startswith(INTERNAL_PREFIX) and not has_valid_mac(secret, message):
        raise MalformedEvent(
            "BAD_MAC", "internal messages are signed by the engines; services cannot send them"
        )
    return Work(item.position, message, decode(message), _time_ms(item, message))


def _time_ms(item: Received, message: Message) -> int:
    moment = item.timestamp
    if message.time is not None:
        try:
            moment = parse_time(message.time)
        except ValueError as fault:
            raise MalformedEvent("INVALID_TIME", str(fault)) from fault
    return int(moment.timestamp() * 1000)


def _sent_on(item: Received, work: Work) -> Record:
    """A message on the wrong partition is never applied there; it goes where its workflow lives."""
    hops = _hops(work.message.headers.get(HOPS_HEADER))
    if hops >= HOPS_MAX:
        raise MalformedEvent(
            "WRONG_PARTITION",
            f"sent on {hops} times; do all producers use the murmur2_random partitioner?",
        )
    record = item.record
    headers = tuple(header for header in record.headers if header[0] != HOPS_HEADER)
    return Record(
        topic=record.topic,
        key=work.inbound.workflow_id.encode(),
        value=record.value,
        headers=(*headers, (HOPS_HEADER, b"%d" % (hops + 1))),
    )


def _hops(header: bytes | None) -> int:
    """How often a message was sent on; a header that no engine wrote counts as too often."""
    if header is None:
        return 0
    return int(header) if len(header) == 1 and header.isdigit() else HOPS_MAX


def _dead_letter(item: Received, reason: str, detail: str) -> Record:
    """The message as it was, with why and where it was refused (CONTRACT 6)."""
    position = item.position
    return dead_letter(
        item.record,
        reason=reason,
        detail=detail,
        partition=position.partition,
        offset=position.offset,
        time=rfc3339(item.timestamp),
    )

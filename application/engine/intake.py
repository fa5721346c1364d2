"""Sorting inbox messages: those to decide, those for another partition, and dead letters."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

import structlog
from conveyor.dead_letters import dead_letter
from conveyor.messages import MalformedEvent, Message, Record
from conveyor.times import rfc3339

from application.aggregates.aggregate import Catalog
from application.codec.internal import SOURCES, Sign, has_valid_mac
from application.codec.times import parse_time
from application.engine.loader import UnreadablePartition
from application.engine.work import Work
from application.ports import INTERNAL_PREFIX, Received
from domain.aggregate.kind import HistoryError

log = structlog.get_logger("WorkflowEngine")

#: A message with more bytes of key, value and headers is a dead letter (CONTRACT 1).
MESSAGE_BYTES_MAX = 1024 * 1024
#: Characters of source and id together. They are part of every outcome, and 1,000 of them are remembered.
MESSAGE_ID_MAX = 1024
#: How often a message may be sent on to another partition.
HOPS_MAX = 2
HOPS_HEADER = "hops"


@dataclass(slots=True)
class Intake:
    """One batch, sorted. Groups keep the order of arrival within each partition and aggregate."""

    #: partition -> aggregate id -> messages
    groups: dict[int, dict[str, list[Work]]] = field(
        default_factory=dict[int, dict[str, list[Work]]]
    )
    dead_letters: list[Record] = field(default_factory=list[Record])
    rerouted: list[Record] = field(default_factory=list[Record])


def sort(
    received: Sequence[Received],
    partition_of: Callable[[str], int],
    is_here: Callable[[int, str], bool],
    catalog: Catalog,
    sign: Sign,
) -> Intake:
    """Sort one batch. Raises UnreadablePartition.

    `is_here` is a cheap check whether a partition holds an aggregate; only for others the partition is computed.
    """
    intake = Intake()
    for item in received:
        try:
            work = _understood(item, catalog, sign)
            partition, aggregate_id = item.position.partition, work.aggregate_id
            if is_here(partition, aggregate_id) or partition_of(aggregate_id) == partition:
                intake.groups.setdefault(partition, {}).setdefault(aggregate_id, []).append(work)
            else:
                intake.rerouted.append(_sent_on(item, work))
        except MalformedEvent as fault:
            intake.dead_letters.append(_dead_letter(item, fault.code, fault.detail))
        except HistoryError as fault:
            position = item.position
            raise UnreadablePartition(
                position.partition, f"offset {position.offset} of {position.topic}: {fault}"
            ) from fault
        except Exception as bug:
            # Any error of one record costs only that record, not the partition (PROTOCOL rule 15).
            log.exception("reading failed", position=item.position)
            detail = f"{type(bug).__name__}: {bug}"
            intake.dead_letters.append(_dead_letter(item, "INTERNAL", detail))
    return intake


def _understood(item: Received, catalog: Catalog, sign: Sign) -> Work:
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
    is_internal = message.type.startswith(INTERNAL_PREFIX)
    if is_internal and not has_valid_mac(sign, message):
        raise MalformedEvent(
            "BAD_MAC", "internal messages are signed by the engines; services cannot send them"
        )
    if not is_internal and message.source in SOURCES:
        raise MalformedEvent(
            "RESERVED_SOURCE", f"{message.source} is the engines' own source; name your service"
        )
    aggregate_id, intent, at = catalog.decode(message)
    return Work(item.position, message, aggregate_id, intent, _time_ms(item, message), at)


def _time_ms(item: Received, message: Message) -> int:
    moment = item.timestamp
    if message.time is not None:
        try:
            moment = parse_time(message.time)
        except ValueError as fault:
            raise MalformedEvent("INVALID_TIME", str(fault)) from fault
    return int(moment.timestamp() * 1000)


def _sent_on(item: Received, work: Work) -> Record:
    """A message on the wrong partition is never applied there. It is sent on to the partition of its workflow."""
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
        key=work.aggregate_id.encode(),
        value=record.value,
        headers=(*headers, (HOPS_HEADER, b"%d" % (hops + 1))),
    )


def _hops(header: bytes | None) -> int:
    """How often a message was sent on. A header that no engine wrote counts as too often."""
    if header is None:
        return 0
    return int(header) if len(header) == 1 and header.isdigit() else HOPS_MAX


def _dead_letter(item: Received, reason: str, detail: str) -> Record:
    """The unchanged message, with the reason and the place of its refusal (CONTRACT 6)."""
    position = item.position
    return dead_letter(
        item.record,
        reason=reason,
        detail=detail,
        partition=position.partition,
        offset=position.offset,
        time=rfc3339(item.timestamp),
    )

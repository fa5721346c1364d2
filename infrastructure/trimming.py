"""Trims topics periodically while the engine runs (PROTOCOL rule 16)."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from dataclasses import dataclass

import structlog

from application.ports import InboxTrimmer, Projections, Unavailable

log = structlog.get_logger("conveyor")

_GROWS = "nothing is lost by it, the topics only grow"
INBOX_ADVICE = (
    f"{_GROWS}; the engine needs the right to delete records of both inbox"
    " topics (ACL Delete), or CONVEYOR_KAFKA__INBOX_TRIM_INTERVAL_SECONDS=0 where somebody else trims them"
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Trimming:
    """How one run mode trims its topics."""

    #: One round. Raises Unavailable.
    trim: Callable[[], Awaitable[object]]
    interval_seconds: float
    #: What to do about a round that failed.
    advice: str = _GROWS


async def run_trimming(trimming: Trimming, stop: asyncio.Event) -> None:
    """Run a round per interval until `stop` is set. A failure is logged, with advice, and left to the next round.

    Several processes may do this concurrently.
    """
    while not await _is_set_within(stop, trimming.interval_seconds):
        try:
            await trimming.trim()
        except Unavailable as away:
            log.warning(
                "topics were not trimmed; tried again next time",
                action="topics.not_trimmed",
                component=away.component,
                detail=away.detail,
                advice=trimming.advice,
            )


async def trim_inbox(trimmer: InboxTrimmer, projections: Projections) -> None:
    """One round in Kafka mode, with one log line. Raises Unavailable."""
    trimmed = await trimmer.trim(await projections.starts())
    if not trimmed.failures:
        log.info("inbox trimmed", action="inbox.trimmed", messages=trimmed.messages)
        return
    log.warning(
        "the inbox was trimmed in part; tried again next time",
        action="inbox.trimmed_in_part",
        messages=trimmed.messages,
        failures={f"{topic}/{number}": why for (topic, number), why in trimmed.failures.items()},
        advice=INBOX_ADVICE,
    )


async def _is_set_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True

"""Topics are trimmed now and then, beside the engine (PROTOCOL rule 16)."""

from __future__ import annotations

import asyncio

import structlog

from adapters.sqlite.retention import trim
from adapters.sqlite.store import SqliteStore
from application.ports import InboxTrimmer, Projections, Unavailable

log = structlog.get_logger("conveyor")

_ADVICE = (
    "nothing is lost by it, the topics only grow; the engine needs the right to delete records of both inbox"
    " topics (ACL Delete), or CONVEYOR_KAFKA__INBOX_TRIM_INTERVAL_SECONDS=0 where somebody else trims them"
)


async def run_trimming(
    trimmer: InboxTrimmer, projections: Projections, interval_seconds: float, stop: asyncio.Event
) -> None:
    """A round per interval until `stop` is set; what fails is logged and left to the next one.

    Any number of processes may do this side by side.
    """
    while not await _is_set_within(stop, interval_seconds):
        await trim_once(trimmer, projections)


async def trim_once(trimmer: InboxTrimmer, projections: Projections) -> None:
    """One round, and one line of log about it."""
    try:
        trimmed = await trimmer.trim(await projections.starts())
    except Unavailable as away:
        log.warning(
            "the inbox was not trimmed; tried again next time",
            action="inbox.not_trimmed",
            component=away.component,
            detail=away.detail,
            advice=_ADVICE,
        )
        return
    if not trimmed.failures:
        log.info("inbox trimmed", action="inbox.trimmed", messages=trimmed.messages)
        return
    log.warning(
        "the inbox was trimmed in part; tried again next time",
        action="inbox.trimmed_in_part",
        messages=trimmed.messages,
        failures={f"{topic}/{number}": why for (topic, number), why in trimmed.failures.items()},
        advice=_ADVICE,
    )


async def run_file_trimming(
    store: SqliteStore, interval_seconds: float, stop: asyncio.Event
) -> None:
    """Of the embedded mode: records that every reader has read go. A round that fails is left to the next one."""
    while not await _is_set_within(stop, interval_seconds):
        try:
            await trim(store)
        except Unavailable as away:
            log.warning(
                "the topics were not trimmed; tried again next time",
                action="topics.not_trimmed",
                component=away.component,
                detail=away.detail,
            )


async def _is_set_within(stop: asyncio.Event, seconds: float) -> bool:
    try:
        await asyncio.wait_for(stop.wait(), seconds)
    except TimeoutError:
        return False
    return True

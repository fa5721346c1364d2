"""Waiting for a condition that nothing announces: looked at again and again, up to a deadline."""

from __future__ import annotations

import asyncio
import subprocess
import time
from collections.abc import Awaitable, Callable
from typing import TypeVar

Found = TypeVar("Found")

DEADLINE_SECONDS = 30.0
_POLL_SECONDS = 0.005


def wait_until(
    what: str,
    look: Callable[[], Found | None],
    seconds: float = DEADLINE_SECONDS,
    given_up: Callable[[], str | None] = lambda: None,
) -> Found:
    """What `look` finds, as soon as it finds anything true.

    Fails after the deadline, or earlier with the reason that `given_up` returns.
    """
    deadline = time.monotonic() + seconds
    while True:
        found = look()
        if found:
            return found
        reason = given_up()
        if reason is None and time.monotonic() > deadline:
            reason = f"waited {seconds:g} s"
        if reason is not None:
            raise AssertionError(f"not seen: {what} ({reason})")
        time.sleep(_POLL_SECONDS)


def end_of(process: subprocess.Popen[bytes]) -> str | None:
    """That the process has ended, as a reason to give up."""
    code = process.poll()
    return None if code is None else f"the process ended with {code}"


async def eventually(
    look: Callable[[], Awaitable[Found | None]], seconds: float = DEADLINE_SECONDS
) -> Found:
    """What `look` finds, as soon as it finds anything true. Raises TimeoutError after the deadline."""
    async with asyncio.timeout(seconds):
        while not (found := await look()):  # noqa: ASYNC110 - nothing announces it
            await asyncio.sleep(_POLL_SECONDS)
    return found


async def until(holds: Callable[[], object], seconds: float = DEADLINE_SECONDS) -> None:
    """Returns once the condition holds. Raises TimeoutError after the deadline."""

    async def look() -> object:
        return holds()

    await eventually(look, seconds)

"""A limit of the requests of each caller, so that one of them cannot take the service from the others."""

from __future__ import annotations

import math
import time
from collections.abc import Callable

from adapters.rest.problems import Problem

#: Callers that are remembered. Those with a full bucket are forgotten first, which changes nothing for them.
_CALLERS_MAX = 10_000


class RateLimit:
    """A token bucket for each caller: `per_second` requests on average, and as many at once. 0: no limit."""

    def __init__(self, per_second: int, clock: Callable[[], float] = time.monotonic) -> None:
        self._rate = per_second
        self._clock = clock
        #: actor -> tokens that were left, and when
        self._buckets: dict[str, tuple[float, float]] = {}

    def admit(self, actor: str) -> None:
        """Take a token. Raises Problem (429) with the seconds after which there is one again."""
        if not self._rate:
            return
        now = self._clock()
        tokens = self._tokens(actor, now)
        if tokens < 1:
            seconds = math.ceil((1 - tokens) / self._rate)
            detail = (
                f"'{actor}' may send {self._rate} requests a second; send it again in {seconds} s"
            )
            headers = {"Retry-After": str(seconds)}
            raise Problem(429, "RATE_LIMITED", detail, headers=headers)
        if actor not in self._buckets and len(self._buckets) >= _CALLERS_MAX:
            self._forget(now)
        self._buckets[actor] = tokens - 1, now

    def _tokens(self, actor: str, now: float) -> float:
        left, at = self._buckets.get(actor, (float(self._rate), now))
        return min(float(self._rate), left + (now - at) * self._rate)

    def _forget(self, now: float) -> None:
        full = float(self._rate)
        self._buckets = {
            actor: bucket
            for actor, bucket in self._buckets.items()
            if self._tokens(actor, now) < full
        }

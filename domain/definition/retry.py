"""How long to wait before the next attempt (S-002-11, S-003-15 to S-003-18, S-000-11, C-03, C-04)."""

from __future__ import annotations

import hashlib
from datetime import timedelta

from domain.values import Value

#: This many retries may follow each other as fast as the policy allows. Every later one waits at least
#: `LATER_DELAY_MIN_MS`, so that no policy makes the engine call a dead service in a tight loop.
QUICK_RETRIES = 3
LATER_DELAY_MIN_MS = 1000


class RetryPolicy(Value):
    """Retries after the first attempt, delays in milliseconds, `jitter` as a share of the delay (0 to 1)."""

    max_retries: int = 3
    initial_delay_ms: int = 1000
    max_delay_ms: int = 10_000
    backoff_multiplier: float = 2.0
    exponential_backoff: bool = True
    jitter: float = 0.0

    def calculate_delay(self, retries: int) -> int:
        """Milliseconds to wait after `retries` retries: min(max, initial x multiplier^retries)."""
        if not self.exponential_backoff or not self.initial_delay_ms:
            return min(self.max_delay_ms, self.initial_delay_ms)
        try:
            delay_ms = self.initial_delay_ms * self.backoff_multiplier**retries
        except OverflowError:
            return self.max_delay_ms
        return int(min(float(self.max_delay_ms), delay_ms))

    def delay(self, retries: int, key: str, attempt: int) -> timedelta:
        """The delay with jitter, at most `jitter` x delay. It is drawn from key and attempt, so a replay agrees.

        From the fourth retry on it is at least a second.
        """
        delay_ms = self.calculate_delay(retries)
        if self.jitter:
            digest = hashlib.blake2b(f"{key}#{attempt}".encode(), digest_size=8).digest()
            draw = int.from_bytes(digest) / 2**63 - 1.0
            delay_ms = max(0, round(delay_ms * (1.0 + self.jitter * draw)))
        if retries >= QUICK_RETRIES:
            delay_ms = max(delay_ms, LATER_DELAY_MIN_MS)
        return timedelta(milliseconds=delay_ms)

    def has_retries_left(self, retries: int) -> bool:
        return retries < self.max_retries

    @staticmethod
    def default_policy() -> RetryPolicy:
        return RetryPolicy()

    @staticmethod
    def aggressive_policy() -> RetryPolicy:
        return RetryPolicy(max_retries=5, initial_delay_ms=200, max_delay_ms=5000)

    @staticmethod
    def conservative_policy() -> RetryPolicy:
        return RetryPolicy(max_retries=2, initial_delay_ms=5000, max_delay_ms=30_000)


PRESETS = {
    "default": RetryPolicy.default_policy(),
    "aggressive": RetryPolicy.aggressive_policy(),
    "conservative": RetryPolicy.conservative_policy(),
}

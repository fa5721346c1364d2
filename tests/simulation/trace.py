"""What happened, readable, with the virtual time; and the digest that two runs of a seed share."""

from __future__ import annotations

import asyncio
import hashlib


class Trace:
    """Lines of a run, kept only when somebody wants to read them."""

    def __init__(self, *, is_kept: bool) -> None:
        self.is_kept = is_kept
        self.lines: list[str] = []

    def note(self, who: str, what: str) -> None:
        if self.is_kept:
            now = asyncio.get_running_loop().time()
            self.lines.append(f"{now:10.4f} {who:<12} {what}")

    def end(self, what: str) -> None:
        """The last line of a run that broke off: its time is over."""
        if self.is_kept:
            self.lines.append(f"{'':>10} {'check':<12} {what}")

    @property
    def digest(self) -> str:
        return hashlib.sha256("\n".join(self.lines).encode()).hexdigest()

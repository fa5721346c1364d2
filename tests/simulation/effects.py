"""What participants really did, as opposed to what anybody believes of it."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Effect:
    """Something that a participant really did."""

    key: str
    operation: str
    attempt: int

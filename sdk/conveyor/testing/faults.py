"""Faults of a run: drawn from a seed, each bound to the request that it strikes."""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Collection, Sequence
from dataclasses import dataclass
from enum import StrEnum


class Kind(StrEnum):
    """The kinds of faults; the value is the fault in words."""

    REFUSED = "{what} was refused for good"
    BUSY = "{what} was refused once, and may be tried again"
    DIES_BEFORE = "the process died when it had begun {what}, before the effect; it was back after {seconds:g} s"
    DIES_AFTER = "the process died after the effect of {what}, before its record; it was back after {seconds:g} s"
    SLOW = "{what} took {seconds:g} s"
    HOLD_LOST = "the process lost its hold of {what}, and another performed it meanwhile"
    DUPLICATE = "the request for {what} came again after {seconds:g} s"
    LATE = "the request for {what} came {seconds:g} s late"


#: Those that befall a request on its way; the others befall its handler.
ON_THE_WAY = frozenset((Kind.DUPLICATE, Kind.LATE))


@dataclass(frozen=True, slots=True)
class Fault:
    """One fault of a plan."""

    #: By which a run may be repeated with this fault and without others.
    number: int
    kind: Kind
    #: The idempotency key of the request that it strikes, and whether the first one with that key or a later one.
    key: str
    occurrence: int
    seconds: float = 0.0


@dataclass(frozen=True, slots=True)
class Target:
    """A request that faults may strike."""

    key: str
    timeout_seconds: float
    #: It may fail for good, which makes the workflow undo what was done.
    may_be_refused: bool
    #: A claim of a dead process may be resolved by running the handler again.
    may_be_lost: bool


def plan(seed: int, targets: Sequence[Target]) -> tuple[Fault, ...]:
    """The faults of a run.

    Seeds that follow each other let the steps fail for good in turn, so that each way back is walked.
    """
    dice = random.Random(seed)  # noqa: S311 - the same seed gives the same faults
    faults: list[Fault] = []
    refusable = [target for target in targets if target.may_be_refused]
    turn = seed % (len(refusable) + 1)
    if turn < len(refusable):
        faults.append(Fault(1, Kind.REFUSED, refusable[turn].key, 1))
    kinds = [kind for kind in Kind if kind is not Kind.REFUSED]
    for _ in range(dice.choice((1, 2, 2, 3, 4))):
        target, kind = dice.choice(targets), dice.choice(kinds)
        occurrence = dice.choice((1, 1, 1, 2))
        seconds = _seconds(dice, kind, target)
        if not target.may_be_lost and kind in (Kind.DIES_BEFORE, Kind.DIES_AFTER, Kind.HOLD_LOST):
            continue
        if sum(fault.key == target.key for fault in faults) < 2:
            # More would use up the retries of an undo, and an operator would have to look.
            faults.append(Fault(len(faults) + 1, kind, target.key, occurrence, seconds))
    return tuple(faults)


def _seconds(dice: random.Random, kind: Kind, target: Target) -> float:
    """Within the time-out of the step, or beyond it."""
    shares = {
        Kind.SLOW: (0.5, 1.5, 2.5),
        Kind.DIES_BEFORE: (0.0, 0.2, 1.5),
        Kind.DIES_AFTER: (0.0, 0.2, 1.5),
        Kind.DUPLICATE: (0.0, 0.1, 2.0),
        Kind.LATE: (0.02, 0.5, 1.5),
    }.get(kind, (0.0,))
    return round(dice.choice(shares) * target.timeout_seconds, 3)


@dataclass(frozen=True, slots=True)
class Struck:
    """A fault that happened, after so many seconds of virtual time, to this operation."""

    fault: Fault
    after: float
    operation: str

    def __str__(self) -> str:
        what = f"{self.operation} ({self.fault.key})"
        words = self.fault.kind.value.format(what=what, seconds=self.fault.seconds)
        return f"after {self.after:g} s ({self.fault.number}) {words}"


class Faults:
    """The faults of a run, and those that happened."""

    def __init__(self, planned: Sequence[Fault] = (), only: Collection[int] | None = None) -> None:
        """`only`: the numbers of those that may happen."""
        self._planned = [f for f in planned if only is None or f.number in only]
        self._requests: Counter[tuple[str, bool]] = Counter()
        self.struck: list[Struck] = []

    def on_the_way(self, key: str) -> Fault | None:
        """The fault of a request that is on its way, the next one with this key."""
        return self._next(key, on_the_way=True)

    def in_the_handler(self, key: str) -> Fault | None:
        """The fault of a request that is to be performed, the next one with this key."""
        return self._next(key, on_the_way=False)

    def strike(self, fault: Fault, after: float, operation: str) -> None:
        """It happens."""
        self.struck.append(Struck(fault, after, operation))

    def _next(self, key: str, *, on_the_way: bool) -> Fault | None:
        if not self._planned:
            return None
        self._requests[key, on_the_way] += 1
        occurrence = self._requests[key, on_the_way]
        return next(
            (
                fault
                for fault in self._planned
                if (fault.key, fault.occurrence) == (key, occurrence)
                and (fault.kind in ON_THE_WAY) == on_the_way
            ),
            None,
        )

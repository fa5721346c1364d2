"""What may go wrong in a run, drawn from the seed: each kind of fault from a stream of its own.

A *fault point* is a place at which a fault of some kind could strike and the dice were thrown for it;
points without a chance (the seed's mixture lacks that kind) do not count. A `Plan` takes faults away again:
the others keep their dice, so what is left of a run stays as like the whole of it as can be.
"""

from __future__ import annotations

import random
from collections import Counter
from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import TypeVar

from tests.simulation.trace import Trace

T = TypeVar("T")


class Kind(StrEnum):
    """The kinds of faults."""

    # A call of a process to a server.
    CALL_LOST = "call-lost"
    ANSWER_LOST = "answer-lost"
    PARTLY_WRITTEN = "partly-written"
    CALL_LATE = "call-late"
    OUTAGE = "outage"
    # Processes.
    ENGINE_DIES = "engine-dies"
    ENGINE_FREEZES = "engine-freezes"
    REBALANCE = "rebalance"
    PARTITION_LOST = "partition-lost"
    WORKER_DIES = "worker-dies"
    WORKER_FREEZES = "worker-freezes"
    LEASE_RUNS_OUT = "lease-runs-out"
    CLOCK_JUMPS = "clock-jumps"
    # Servers.
    RECORD_TWICE = "record-twice"
    REQUEST_LATE = "request-late"
    MAJORITY_LAGS = "majority-lags"
    STORE_FAILS_OVER = "store-fails-over"
    INBOX_CUT = "inbox-cut"
    OFFSETS_EXPIRE = "offsets-expire"
    TOPIC_REFUSES = "topic-refuses"
    # Participants.
    STEP_SLOW = "step-slow"
    STEP_BUSY = "step-busy"
    STEP_REFUSED = "step-refused"
    OUTCOME_UNKNOWN = "outcome-unknown"
    STEP_TOO_LARGE = "step-too-large"
    UNDO_TOO_LARGE = "undo-too-large"
    DIES_AFTER_EFFECT = "dies-after-effect"
    # Producers.
    SENT_AGAIN = "sent-again"
    SENT_ALTERED = "sent-altered"
    WRONG_PARTITION = "wrong-partition"
    KEY_REUSED = "key-reused"
    GARBAGE = "garbage"
    RECORD_RAISES = "record-raises"
    POISON = "poison"
    TOO_LARGE = "too-large"
    # The engine itself.
    DECIDING_FAILS = "deciding-fails"


@dataclass(frozen=True, slots=True)
class Plan:
    """Which faults of a seed strike; all of them by default."""

    #: These never do.
    without: frozenset[str] = frozenset()
    #: Only the first so many do.
    until: int | None = None
    #: These do not, by number.
    skip: frozenset[int] = frozenset()
    #: Only these workflows are there.
    workflows: frozenset[str] | None = None

    def allows(self, kind: Kind, number: int) -> bool:
        return (
            kind not in self.without
            and (self.until is None or number <= self.until)
            and number not in self.skip
        )

    def has(self, workflow_id: str) -> bool:
        return self.workflows is None or workflow_id in self.workflows

    @property
    def options(self) -> list[str]:
        """As the command line takes it."""
        told: list[str] = []
        if self.without:
            told.append(f"--without {','.join(sorted(self.without))}")
        if self.until is not None:
            told.append(f"--until {self.until}")
        if self.skip:
            told.append(f"--skip {','.join(map(str, sorted(self.skip)))}")
        if self.workflows is not None:
            told.append(f"--workflows {','.join(sorted(self.workflows)) or 'none'}")
        return told


class Chances:
    """Throws the dice of one run."""

    def __init__(self, seed: int, plan: Plan, trace: Trace) -> None:
        self._seed = seed
        self._plan = plan
        self.trace = trace
        self._streams: dict[str, random.Random] = {}
        self.struck: Counter[str] = Counter()
        self.points = 0
        #: The world has healed.
        self.is_over = False
        #: Of the last fault, whether it was allowed to strike or not.
        self.number = 0
        #: What struck, by number, for shrinking.
        self.kinds: dict[int, Kind] = {}

    def stream(self, name: str) -> random.Random:
        """Random numbers of one subject, which no other subject disturbs."""
        found = self._streams.get(name)
        if found is None:
            found = self._streams[name] = random.Random(f"{self._seed}/{name}")
        return found

    def strikes(self, kind: Kind, probability: float) -> bool:
        """One fault point: whether a fault of this kind strikes here."""
        if probability <= 0.0 or self.is_over:
            return False
        self.points += 1
        return self.stream(kind).random() < probability and self._lets(kind)

    def one_of(self, kinds: Sequence[Kind], probability: float, name: str) -> Kind | None:
        """One fault point at which a fault of one of these kinds may strike."""
        if probability <= 0.0 or self.is_over:
            return None
        self.points += 1
        dice = self.stream(name)
        if dice.random() >= probability:
            return None
        kind = dice.choice(kinds)
        return kind if self._lets(kind) else None

    def _lets(self, kind: Kind) -> bool:
        self.number += 1
        if not self._plan.allows(kind, self.number):
            return False
        self.struck[kind] += 1
        self.kinds[self.number] = kind
        if self.trace.is_kept:
            self.trace.note("fault", f"#{self.number} {kind}")
        return True
